import Handlebars from 'handlebars';
import type { CapturedMessage } from '../../src/channels/sandbox.ts';

// A separate instance of Handlebars, so that globally registered helpers do not affect these pages. `{{…}}` always
// escapes.
const handlebars = Handlebars.create();

handlebars.registerPartial(
  'layout',
  `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{title}}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/mailbox/assets/mailbox.css">
<script type="module" src="/mailbox/assets/mailbox.js"></script>
</head>
<body>
{{> @partial-block}}
</body>
</html>
`,
);

handlebars.registerPartial('time', `<time datetime="{{iso}}">{{utc}}</time>`);

const list = handlebars.compile(
  `{{#> layout title="Mailbox"}}
<header class="page">
  <h1>Mailbox</h1>
  <span class="quiet">Messages that were captured instead of sent.</span>
</header>
<main>
  <p id="news" class="hidden" role="status"></p>
  <div id="messages">
  {{#if messages}}
    <ul class="list card">
    {{#each messages}}
      <li><a href="/mailbox/messages/{{id}}">
        <span class="badge">{{channel}}</span>
        <span class="line">{{recipient}}</span>
        <span class="line"><strong>{{title}}</strong> <span class="quiet">{{snippet}}</span></span>
        {{> time captured}}
      </a></li>
    {{/each}}
    </ul>
  {{else}}
    <div class="card empty">
      <strong>No messages yet</strong><br>
      <span class="quiet">Captured messages appear here automatically.</span>
    </div>
  {{/if}}
  {{#if next}}<p class="more"><a href="/mailbox?before={{next}}">Older messages</a></p>{{/if}}
  {{#if before}}<p class="more"><a href="/mailbox">Newest messages</a></p>{{/if}}
  </div>
</main>
{{/layout}}`,
);

const detail = handlebars.compile(
  `{{#> layout title=title}}
<header class="page">
  <a href="/mailbox">← Mailbox</a>
</header>
<main>
  <article>
    {{#unless message.subject}}<h1 class="hidden">{{title}}</h1>{{/unless}}
    <div class="card">
      <dl class="facts">
        {{#if message.subject}}<dt>Subject</dt><dd><h1>{{message.subject}}</h1></dd>{{/if}}
        <dt>To</dt><dd>{{message.recipient}}</dd>
        {{#if message.sender}}<dt>From</dt><dd>{{message.sender}}</dd>{{/if}}
        <dt>Channel</dt><dd><span class="badge">{{message.channel}}</span></dd>
        <dt>Captured</dt><dd>{{> time captured}}</dd>
      </dl>
      <details>
        <summary>Headers and ids</summary>
        <dl class="facts">
          <dt>Tenant</dt><dd>{{message.tenantId}}</dd>
          <dt>Log entry</dt><dd>{{message.logId}}</dd>
          {{#each message.headers}}<dt>{{@key}}</dt><dd>{{this}}</dd>{{/each}}
          <dt>JSON</dt><dd><a href="/mailbox/messages/{{message.id}}.json">/mailbox/messages/{{message.id}}.json</a></dd>
        </dl>
      </details>
    </div>
    {{#if message.html}}
    <fieldset class="views">
      <legend class="hidden">Show as</legend>
      <label><input type="radio" name="view" id="view-phone" checked>Phone</label>
      <label><input type="radio" name="view" id="view-desktop">Desktop</label>
      <label><input type="radio" name="view" id="view-text">Plain text</label>
      <label><input type="radio" name="view" id="view-source">HTML source</label>
    </fieldset>
    <div class="panel card html">
      <iframe title="The message" src="/mailbox/messages/{{message.id}}/html" referrerpolicy="no-referrer"
        sandbox="allow-popups allow-popups-to-escape-sandbox"></iframe>
    </div>
    <div class="panel card source"><pre>{{message.html}}</pre></div>
    {{/if}}
    <div class="panel card {{#if message.html}}text{{else}}only{{/if}}">
      <pre>{{#if message.text}}{{message.text}}{{else}}No plain text.{{/if}}</pre>
    </div>
  </article>
</main>
{{/layout}}`,
);

const captured = ({ capturedAt }: CapturedMessage): { iso: string; utc: string } => {
  const iso = capturedAt.toISOString();
  return { iso, utc: `${iso.slice(0, 19).replace('T', ' ')} UTC` };
};

/** Messages without a subject are listed with the start of their text. */
function summary({ subject, text }: CapturedMessage): { title: string; snippet: string } {
  const words = (text ?? '').replace(/\s+/g, ' ').trim().slice(0, 200);
  return subject ? { title: subject, snippet: words } : { title: words || '(no subject)', snippet: '' };
}

/** Renders the list of messages. */
export const renderList = (page: {
  messages: CapturedMessage[];
  next: string | null;
  before: string | undefined;
}): string =>
  list({
    ...page,
    messages: page.messages.map((message) => ({
      id: message.id,
      channel: message.channel,
      recipient: message.recipient,
      captured: captured(message),
      ...summary(message),
    })),
  });

/** Renders the page of one message. An iframe loads the message's HTML from a separate URL. */
export const renderMessage = (message: CapturedMessage): string =>
  detail({
    // Copied to a plain object, because Handlebars does not read inherited properties.
    message: {
      id: message.id,
      tenantId: message.tenantId,
      logId: message.logId,
      channel: message.channel,
      recipient: message.recipient,
      sender: message.sender,
      subject: message.subject,
      text: message.text,
      html: message.html,
      headers: { ...message.headers },
    },
    title: summary(message).title,
    captured: captured(message),
  });
