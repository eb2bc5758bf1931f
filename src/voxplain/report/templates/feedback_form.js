(() => {
  'use strict';
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  const one = (selector, inside = document) => inside.querySelector(selector);
  const steps = all('form[data-step]');
  const {schema, form} = document.body.dataset;
  const answers = {schema, form, reader: '', cases: [], causability: {}, comment: ''};
  let place = 0, begun = 0, spent = 0, unsaved = false;

  // Only the time during which the page is in sight counts.
  const look = () => { begun = performance.now(); };
  const pause = () => { spent += performance.now() - begun; look(); };
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) pause(); else look();
  });

  const show = () => {
    const step = steps[place], section = step.closest('section');
    steps.forEach(other => { other.hidden = other !== step; });
    all('section[data-case]').forEach(other => { other.hidden = other !== section; });
    all('figure[data-of]').forEach(figure => {
      figure.hidden = figure.closest('section') !== section || figure.dataset.of !== step.dataset.letter;
    });
    one('#progress').hidden = one('#partial').hidden = place === 0;
    one('progress').value = place / (steps.length - 1);
    one('#progress span').textContent = `Step ${place} of ${steps.length - 1}`;
    scrollTo(0, 0);
    one('[tabindex="-1"]', step).focus({preventScroll: true});
    spent = 0;
    look();
  };

  // Numbers as numbers, and nothing for what was left out.
  const given = step => Object.fromEntries([...new FormData(step)].filter(([, value]) => value !== '')
    .map(([name, value]) => [name, ['comment', 'reader'].includes(name) ? value : Number(value)]));

  const lacking = step => all('.item', step).filter(item => !one('input:checked', item));

  // The first press names what is left out, the second one goes on without it.
  const insists = step => {
    const items = lacking(step), told = one('[role=alert]', step);
    all('.item', step).forEach(item => item.classList.toggle('lacking', items.includes(item)));
    if (!items.length || !told.hidden) return false;
    told.hidden = false;
    told.textContent = `${items.length} not answered, marked above. Answer them, or press Continue again to leave them out.`;
    one('input', items[0]).focus();
    return true;
  };

  const caseOf = step => {
    const number = Number(step.closest('section').dataset.case);
    let found = answers.cases.find(other => other.case === number);
    if (!found) answers.cases.push(found = {case: number, maps: {}});
    return found;
  };

  const keep = step => {
    const kind = step.dataset.step, values = given(step);
    pause();
    const seconds = Math.round(spent) / 1000;
    if (kind === 'start') answers.reader = values.reader.trim();
    if (kind === 'map') caseOf(step).maps[step.dataset.letter] = {...values, seconds};
    if (kind === 'before' || kind === 'after') {
      const {comment, ...reading} = values;
      caseOf(step)[kind] = {...reading, seconds};
      if (comment) caseOf(step).comment = comment;
    }
    if (kind === 'causability') answers.causability = values;
    if (kind === 'end') answers.comment = values.comment || '';
    unsaved = true;
  };

  const save = () => {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([JSON.stringify(answers, null, 1)], {type: 'application/json'}));
    link.download = `answers-${answers.reader.replace(/[^\w-]+/g, '_')}-${form}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    unsaved = false;
  };

  steps.forEach(step => step.addEventListener('submit', event => {
    event.preventDefault();
    if (step !== steps[place] || insists(step)) return;
    keep(step);
    if (step.dataset.step === 'end') {
      save();
      one('#saved').textContent = 'Saved among your downloads. Send this file to whoever gave you the form.';
    } else {
      place += 1;
      show();
    }
  }));
  one('#partial').addEventListener('click', save);
  document.addEventListener('input', () => { unsaved = true; });
  addEventListener('beforeunload', event => {
    if (unsaved) event.preventDefault();
  });
  show();
})();
