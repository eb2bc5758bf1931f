"""Which operations only move numbers, and the families of the others by which backward rules are looked up."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


MOVES = frozenset(
    _words("""
    __getitem__ __setitem__ adjoint alias as_strided atleast_1d atleast_2d atleast_3d bfloat16 block_diag
    broadcast_tensors broadcast_to cat channel_shuffle chunk clone col2im column_stack concat concatenate contiguous
    copy copy_ cpu cuda diagonal diagonal_scatter double dsplit dstack expand expand_as fill_ flatten flip fliplr flipud
    float gather half hsplit hstack im2col index index_copy index_copy_ index_fill_ index_put index_put_ index_select
    lift_fresh_copy masked_scatter masked_scatter_ masked_select matrix_transpose moveaxis movedim narrow
    native_channel_shuffle permute pixel_shuffle pixel_unshuffle positive ravel reflection_pad1d reflection_pad2d
    reflection_pad3d repeat repeat_interleave replication_pad1d replication_pad2d replication_pad3d reshape reshape_as
    resolve_conj resolve_neg roll rot90 scatter scatter_ select select_scatter slice slice_scatter split
    split_with_sizes squeeze squeeze_ stack swapaxes swapdims t t_ take take_along_dim tensor_split tile to _to_copy
    transpose transpose_ type type_as unbind unflatten unfold unsqueeze unsqueeze_ unsafe_chunk unsafe_split
    _unsafe_view view view_as view_copy vsplit vstack zero_
    """)
)
"""They give every number to a new place (or several): their derivative is the right way back under every rule."""

NATIVE = frozenset(
    _words("""
    __array__ __bool__ __contains__ __deepcopy__ __delete__ __float__ __format__ __get__ __hash__ __index__ __int__
    __iter__ __len__ __reduce_ex__ __repr__ __reversed__ __set__ __str__ backward data_ptr detach detach_ dim
    element_size get_device is_complex is_contiguous is_floating_point is_nonzero is_pinned is_same_size is_tensor item
    ndimension nelement numel numpy register_hook register_post_accumulate_grad_hook requires_grad_ retain_grad set_
    size storage storage_offset stride tolist untyped_storage
    """)
)
"""They ask about a tensor or mark it, and must see the tensor itself."""

RECTIFIERS = _words("""
    celu elu gelu hardswish leaky_relu mish prelu _prelu_kernel relu relu6 rrelu rrelu_with_noise selu silu softplus
    threshold
""")
"""Activations that let large values through and hold small ones back."""

SQUASHES = _words("""
    hardsigmoid log_sigmoid log_softmax _log_softmax sigmoid softmax _softmax softsign tanh
""")
"""Activations that press values between bounds; where they multiply another tensor they are gates."""

CONVOLUTIONS = _words("""
    conv1d conv2d conv3d convolution _convolution conv_transpose1d conv_transpose2d conv_transpose3d
""")

BATCH_NORMS = _words("batch_norm native_batch_norm _native_batch_norm_legit_no_training")
"""Norms that in evaluation scale and shift each channel by constants."""

JOINS = _words("cat column_stack concat concatenate dstack hstack stack vstack")
"""Moves that put several tensors together; with constants among them they are recorded as 'merge'."""

_FAMILIES = {
    "rectifier": RECTIFIERS,
    "squash": SQUASHES,
    "clamp": _words("clamp clamp_min clamp_max clip hardtanh"),
    "weights": (*CONVOLUTIONS, *_words("linear addmm addbmm baddbmm addmv bilinear")),
    "norm": _words("""
        batch_norm _batch_norm_impl_index cudnn_batch_norm _fused_rms_norm group_norm instance_norm layer_norm
        native_batch_norm _native_batch_norm_legit_no_training native_group_norm native_layer_norm rms_norm
    """),
    "mean": _words("""
        _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d avg_pool1d
        avg_pool2d avg_pool3d mean nansum sum
    """),
    "maximum": _words("""
        adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d amax fractional_max_pool2d fractional_max_pool3d
        kthvalue max max_pool1d max_pool1d_with_indices max_pool2d max_pool2d_with_indices max_pool3d
        max_pool3d_with_indices max_unpool1d max_unpool2d max_unpool3d maximum median sort topk
    """),
    "resize": _words("""
        grid_sampler grid_sampler_2d grid_sampler_3d upsample_bicubic2d _upsample_bicubic2d_aa upsample_bilinear2d
        _upsample_bilinear2d_aa upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d
        _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d upsample_trilinear3d
    """),
    "merge": (*JOINS, *_words("constant_pad_nd index_fill masked_fill pad tril triu where")),
    "dropout": _words("alpha_dropout dropout feature_alpha_dropout feature_dropout native_dropout"),
    "attention": ("scaled_dot_product_attention",),
    "scale": ("neg", "negative"),
}

_BY_NAME = {name: family for family, names in _FAMILIES.items() for name in names}

DIVISIONS = ("div", "divide", "true_divide", "truediv")

_BY_INPUTS = {
    **dict.fromkeys(("add", "sub", "subtract"), ("shift", "add")),
    "rsub": ("scale", "other"),
    **dict.fromkeys(("mul", "multiply", *DIVISIONS), ("scale", "product")),
    **dict.fromkeys(("matmul", "mm", "bmm", "mv", "dot", "einsum", "tensordot"), ("weights", "dot")),
}
"""Operations that mean one thing with a constant and another with two followed inputs."""


KINDS = frozenset([*_FAMILIES, *(kind for pair in _BY_INPUTS.values() for kind in pair), "other"])
"""Every family."""


def kind_of(name: str, inputs: int) -> str:
    """The family of an operation with so many followed inputs; 'other' for one that is not known."""
    if name in _BY_INPUTS:
        alone, together = _BY_INPUTS[name]
        return alone if inputs == 1 else together
    family = _BY_NAME.get(name, "other")
    return "dot" if family == "weights" and inputs > 1 else family


def plain_name(function: object) -> str:
    """'conv2d' for `torch.conv2d`, 'relu_' for `Tensor.relu_`, 'add_' for `aten.add_.Tensor` and `Tensor.__iadd__`."""
    name = str(getattr(function, "__name__", type(function).__name__)).split(".")[0]
    inner = name[2:-2] if name.startswith("__") and name.endswith("__") else ""
    if inner in ARITHMETIC:
        return inner
    if inner.startswith("i") and inner[1:] in ARITHMETIC:
        return inner[1:] + "_"
    return name


ARITHMETIC = ("add", "sub", "mul", "truediv", "div", "matmul", "neg", "pow", "radd", "rmul")


def in_place(name: str) -> bool:
    """True for the name of an operation that changes its first argument."""
    return name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))
