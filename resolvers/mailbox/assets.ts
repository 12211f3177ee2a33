/** The style sheet of the mailbox pages. */
export const STYLE = `:root {
  color-scheme: light dark;
  --page: light-dark(#f6f7f9, #14171c);
  --card: light-dark(#ffffff, #1c2027);
  --line: light-dark(#e0e4ea, #323842);
  --text: light-dark(#1b2430, #e7ebf1);
  --quiet: light-dark(#5a6675, #9aa6b5);
  --accent: light-dark(#0b5fc2, #7cb7ff);
  --tint: light-dark(#e8f1fd, #20344e);
  font: 15px/1.5 system-ui, 'Segoe UI', Roboto, 'Noto Sans', sans-serif;
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); }
a { color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 4px; }
header.page, main { max-width: 1080px; margin: 0 auto; padding: 24px 20px 0; }
main { padding: 16px 20px 48px; }
header.page { display: flex; align-items: baseline; flex-wrap: wrap; gap: 4px 16px; }
h1 { margin: 0; font-size: 22px; line-height: 1.3; overflow-wrap: anywhere; }
.quiet { color: var(--quiet); }
.card { border: 1px solid var(--line); border-radius: 10px; background: var(--card); }
.badge {
  justify-self: start; padding: 1px 8px; border-radius: 999px; background: var(--tint); color: var(--accent);
  font-size: 12px; font-weight: 600; text-transform: uppercase; letter-spacing: 0.03em;
}

.list { margin: 0; padding: 0; list-style: none; overflow: hidden; }
.list li + li { border-top: 1px solid var(--line); }
.list a {
  display: grid; grid-template-columns: 6.5em minmax(0, 15em) minmax(0, 1fr) auto; gap: 0 16px; align-items: center;
  padding: 11px 16px; color: inherit; text-decoration: none;
}
.list a:hover { background: var(--tint); }
.list a:focus-visible { outline-offset: -2px; }
.list .line { overflow: hidden; white-space: nowrap; text-overflow: ellipsis; }
.list strong { font-weight: 600; }
.list time { color: var(--quiet); font-size: 13px; font-variant-numeric: tabular-nums; white-space: nowrap; }
.empty { padding: 56px 20px; text-align: center; }
.more { margin-top: 16px; text-align: center; }

.facts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 4px 20px; margin: 0; padding: 16px 20px; }
.facts dt { color: var(--quiet); }
.facts dd { margin: 0; overflow-wrap: anywhere; }
details { border-top: 1px solid var(--line); }
summary { padding: 10px 20px; color: var(--quiet); cursor: pointer; }
details .facts { padding-top: 0; font: 13px/1.5 ui-monospace, Menlo, Consolas, monospace; }

.views { display: flex; flex-wrap: wrap; gap: 4px; margin: 20px 0 12px; padding: 0; border: 0; }
.views label { padding: 5px 14px; border-radius: 999px; cursor: pointer; }
.views label:hover { background: var(--tint); }
.views label:has(:checked) { background: var(--accent); color: var(--card); }
.views label:has(:focus-visible) { outline: 2px solid var(--accent); outline-offset: 2px; }
.views input, .hidden { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
.panel { display: none; overflow: hidden; }
.panel.only { display: block; margin-top: 16px; }
body:has(#view-phone:checked) .panel.html, body:has(#view-desktop:checked) .panel.html { display: block; }
body:has(#view-text:checked) .panel.text, body:has(#view-source:checked) .panel.source { display: block; }
body:has(#view-phone:checked) .panel.html { width: 377px; max-width: 100%; margin: 0 auto; border-radius: 24px; }
iframe { display: block; width: 100%; height: max(667px, 70vh); border: 0; background: #fff; }
pre { margin: 0; padding: 16px 20px; white-space: pre-wrap; overflow-wrap: anywhere; font: inherit; }
.source pre { font: 13px/1.5 ui-monospace, Menlo, Consolas, monospace; }

@media (max-width: 720px) {
  .list a { grid-template-columns: minmax(0, 1fr) auto; gap: 2px 12px; }
  .list .badge, .list time { grid-row: 1; }
  .list .line { grid-column: 1 / -1; }
}
`;

/** Refreshes the list and shows times in the local time zone. Without JavaScript the page shows UTC after a reload. */
export const SCRIPT = `const format = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

function localTimes(root) {
  for (const time of root.querySelectorAll('time')) time.textContent = format.format(new Date(time.dateTime));
}

const links = (root) => [...root.querySelectorAll('.list a')].map((link) => link.getAttribute('href'));

const list = document.querySelector('#messages');
let shown = list?.innerHTML;

async function refresh() {
  if (document.hidden) return;
  const response = await fetch(location.href);
  if (!response.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), 'text/html');
  const fresh = page.querySelector('#messages');
  if (!fresh || fresh.innerHTML === shown) return;
  shown = fresh.innerHTML;

  const before = new Set(links(list));
  const focused = list.contains(document.activeElement) ? document.activeElement.getAttribute('href') : null;
  localTimes(fresh);
  list.replaceChildren(...fresh.childNodes);
  if (focused) list.querySelector('a[href="' + CSS.escape(focused) + '"]')?.focus();
  const count = links(list).filter((href) => !before.has(href)).length;
  if (count > 0) document.querySelector('#news').textContent = count + (count === 1 ? ' new message' : ' new messages');
}

localTimes(document);
if (list) {
  // The service may be restarting. The next refresh tries again.
  setInterval(() => refresh().catch(() => undefined), 2000);
  document.addEventListener('visibilitychange', () => refresh().catch(() => undefined));
}
`;
