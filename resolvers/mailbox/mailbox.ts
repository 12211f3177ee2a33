import type { FastifyInstance, FastifyReply } from 'fastify';

import type { CapturedMessage, Mailbox } from '../../src/channels/sandbox.ts';
import { AppError, validationFailed } from '../../src/errors.ts';
import { SCRIPT, STYLE } from './assets.ts';
import { renderList, renderMessage } from './pages.ts';

const PAGE_POLICY = [
  `default-src 'none'`,
  `script-src 'self'`,
  `style-src 'self'`,
  `img-src data:`,
  `connect-src 'self'`,
  `frame-src 'self'`,
  `base-uri 'none'`,
  `form-action 'none'`,
  `frame-ancestors 'none'`,
].join('; ');

/**
 * Content security policy of a captured message, which is not trusted: no scripts, no forms, a separate origin, also
 * when its URL is opened directly. Links open in a new tab without access to this page.
 */
const MESSAGE_POLICY = [
  'sandbox allow-popups allow-popups-to-escape-sandbox',
  `default-src 'none'`,
  'img-src data: https:',
  `style-src 'unsafe-inline'`,
  `frame-ancestors 'self'`,
].join('; ');

const ID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i;
const MAXIMUM = 100;

function readId(id: string, name = 'id'): string {
  if (!ID.test(id)) throw validationFailed([{ path: name, message: 'must be a UUID' }]);
  return id;
}

function readPage(query: { limit?: string; before?: string }, limit = 50): { limit: number; before?: string } {
  if (query.limit !== undefined) {
    limit = Number(query.limit);
    if (!Number.isInteger(limit) || limit < 1 || limit > MAXIMUM) {
      throw validationFailed([{ path: 'limit', message: `must be from 1 to ${MAXIMUM}` }]);
    }
  }
  return query.before === undefined ? { limit } : { limit, before: readId(query.before, 'before') };
}

/**
 * Serves the captured messages of sandbox mode as pages under `/mailbox` and as JSON
 * (`/mailbox/messages?limit=&before=`, `/mailbox/messages/<id>.json`).
 *
 * It has no authentication and shows the messages of all tenants. Register it in sandbox mode only.
 */
export async function mailboxRoutes(app: FastifyInstance, options: { mailbox: Mailbox }): Promise<void> {
  const { mailbox } = options;

  async function page(query: { limit?: string; before?: string }) {
    const { limit, before } = readPage(query);
    // One more than requested, to find out whether there is another page.
    const found = await mailbox.list({ limit: limit + 1, before });
    const messages = found.slice(0, limit);
    return { messages, next: found.length > limit ? (messages.at(-1)?.id ?? null) : null, before };
  }

  async function message(id: string): Promise<CapturedMessage> {
    const found = await mailbox.get(readId(id));
    if (!found) throw new AppError('not_found', `Message ${id} does not exist.`);
    return found;
  }

  const sendPage = (reply: FastifyReply, html: string): FastifyReply =>
    reply.type('text/html; charset=utf-8').header('content-security-policy', PAGE_POLICY).send(html);

  // A separate Fastify scope, so that the error handler and the headers apply only to these routes.
  await app.register(async (scope) => {
    scope.setErrorHandler((error, _request, reply) => {
      if (!(error instanceof AppError)) throw error;
      return reply.code(error.status).send({ error_code: error.code, message: error.message, ...error.details });
    });

    scope.addHook('onRequest', async (_request, reply) => {
      reply.headers({
        'cache-control': 'no-store',
        'cross-origin-opener-policy': 'same-origin',
        'referrer-policy': 'no-referrer',
        'x-content-type-options': 'nosniff',
      });
    });

    scope.get<{ Querystring: { before?: string } }>('/mailbox', async ({ query }, reply) =>
      sendPage(reply, renderList(await page(query))),
    );

    scope.get<{ Querystring: { limit?: string; before?: string } }>('/mailbox/messages', async ({ query }) => {
      const { messages, next } = await page(query);
      return { messages, next };
    });

    scope.get<{ Params: { id: string } }>('/mailbox/messages/:id', async ({ params }, reply) => {
      if (params.id.endsWith('.json')) return message(params.id.slice(0, -'.json'.length));
      return sendPage(reply, renderMessage(await message(params.id)));
    });

    scope.get<{ Params: { id: string } }>('/mailbox/messages/:id/html', async ({ params }, reply) => {
      const { html } = await message(params.id);
      if (html === null) throw new AppError('not_found', `Message ${params.id} has no HTML.`);
      reply.type('text/html; charset=utf-8').header('content-security-policy', MESSAGE_POLICY);
      // Appended at the end, where it also works and cannot change the message to quirks mode.
      return reply.send(`${html}<base target="_blank">`);
    });

    scope.get('/mailbox/assets/mailbox.css', (_request, reply) => reply.type('text/css; charset=utf-8').send(STYLE));
    scope.get('/mailbox/assets/mailbox.js', (_request, reply) =>
      reply.type('text/javascript; charset=utf-8').send(SCRIPT),
    );
  });
}
