"""`voxplain explain --dry-run`: the plan and its cost, and nothing else."""


def test_the_command_prints_and_writes_nothing(explain, files):
    done = explain("--method", "gradient", "--method", "occlusion(window=4)", "--dry-run")
    assert done.code == 0
    assert "total: " in done.out
    assert not (files / "out").exists()
    told = explain("--method", "gradient", "--dry-run", "--json").document
    assert [cost["method"] for cost in told["costs"]] == ["gradient"]
    assert (told["forwards"], told["backwards"], told["cases"]) == (2, 1, 1)


def test_a_table_of_cases_is_added_up(explain, files):
    (files / "cases.csv").write_text("id,image\na,t1.nii.gz\nb,flair.nii.gz\n")
    done = explain("--cases", "cases.csv", "--method", "gradient", "--dry-run")
    assert "2 cases, if all are like it: 6 F" in done.out
    assert not (files / "out").exists()
