'use strict';
// What is shown is text and nothing else: nothing that a machine says is ever taken for HTML.
const EVERY = 3000, PATIENCE = 8000, KEY = 'piccolo-key';
const SIGNS = { wrong: '!', waits: '…', well: '✓', unknown: '?' };
const at = id => document.getElementById(id);

// One half of the session; the cookie is the other one. Without a place to keep it, it lasts as long as the page.
let held = '';
const key = {
  get: () => { try { return localStorage.getItem(KEY) || held } catch { return held } },
  set: value => { held = value; try { value ? localStorage.setItem(KEY, value) : localStorage.removeItem(KEY) } catch { } },
};

async function ask(method, path, body) {
  const headers = { 'Piccolo-Key': key.get(), 'Content-Type': 'application/json', 'Accept': 'application/json' };
  const answer = await fetch(path, {
    method, headers, body: body && JSON.stringify(body), cache: 'no-store', credentials: 'same-origin',
    redirect: 'error', signal: AbortSignal.timeout(PATIENCE),
  });
  const text = await answer.text();
  let told = {};
  try { told = JSON.parse(text) } catch { }
  return { status: answer.status, ok: answer.ok, told };
}

function view(name) {
  for (const id of ['claim', 'login', 'status']) at(id).hidden = id !== name;
  at('who').hidden = name !== 'status';
  if (name === 'login' && document.activeElement === document.body) at('name').focus();
}

function element(tag, text, of) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  if (of) made.className = of;
  return made;
}

function item(it, of) {
  const [line, words] = [element('li'), element('div')];
  const sign = element('span', SIGNS[of], of);
  sign.setAttribute('aria-hidden', 'true');
  const first = element('p');
  first.append(element('strong', it.about), ' ', element('span', it.reason, 'reason'));
  words.append(first, element('p', it.message));
  if (it.help) { const help = element('p'); help.append(element('code', it.help)); words.append(help) }
  line.append(sign, words);
  return line;
}

let shown = '';
function show(told) {
  at('foot').textContent = `piccolod ${told.version} · as of ${new Date().toLocaleTimeString()}`;
  const { time, ...rest } = told;
  const text = JSON.stringify(rest);
  // What did not change stays as it is, under the eyes and the hands of whoever reads it.
  if (text === shown) return;
  shown = text;
  at('caller').textContent = `${told.caller.name} (${told.caller.role})`;
  const words = { wrong: `${told.wrong.length} wrong`, waits: `${told.waits.length} waiting`, well: 'All is well' };
  const mode = told.mode === 'observe' ? ', only observed: nothing is changed' : '';
  at('verdict').textContent = `${SIGNS[told.verdict]} ${words[told.verdict]}${mode}`;
  at('verdict').className = told.verdict;
  document.title = `${SIGNS[told.verdict]} ${told.name}`;
  for (const of of ['wrong', 'waits', 'well']) {
    at(of).hidden = told[of].length === 0;
    at(of).querySelector('ul').replaceChildren(...told[of].map(it => item(it, of)));
  }
}

let since = '', timer = 0, asking = false;
function stale(why) {
  at('stale').hidden = !why;
  at('status').className = why ? 'old' : '';
  if (!why) { since = ''; return }
  since = since || new Date().toLocaleTimeString();
  const words = `No answer since ${since}: what stands below may be over.`;
  if (at('stale').textContent !== words) at('stale').textContent = words;
  at('verdict').textContent = `${SIGNS.unknown} Nobody knows at present`;
  at('verdict').className = '';
  shown = '';
}

async function look() {
  clearTimeout(timer);
  if (asking || document.hidden) return;
  asking = true;
  try {
    const { status, ok, told } = await ask('GET', '/overview');
    if (status === 401 || status === 403) { key.set(''); shown = ''; return view('login') }
    if (!ok) throw new Error(told.detail);
    stale('');
    show(told);
    view('status');
  } catch (error) {
    view('status');
    stale(String(error));
  } finally {
    asking = false;
  }
  timer = setTimeout(look, EVERY);
}

async function enter(event) {
  event.preventDefault();
  at('enter').disabled = true;
  at('refused').hidden = true;
  try {
    const { ok, told } = await ask('POST', '/login', { name: at('name').value, password: at('password').value });
    at('password').value = '';
    if (!ok) throw new Error(told.detail || 'the machine did not understand');
    key.set(told.key);
    at('enter').disabled = false;
    return look();
  } catch (error) {
    const words = error.name === 'TypeError' ? 'the machine does not answer' : error.message;
    at('refused').textContent = `${words[0].toUpperCase()}${words.slice(1)}.`;
    at('refused').hidden = false;
    at('password').focus();
  }
  at('enter').disabled = false;
}

async function leave() {
  clearTimeout(timer);
  try { await ask('POST', '/logout', {}) } catch { return stale('it did not hear') }
  key.set('');
  shown = '';
  document.title = document.querySelector('h1').textContent;
  view('login');
}

if (document.body.dataset.claimed === 'true') {
  at('form').addEventListener('submit', enter);
  at('logout').addEventListener('click', leave);
  document.addEventListener('visibilitychange', look);
  key.get() ? look() : view('login');
} else {
  view('claim');
}
