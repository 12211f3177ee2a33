import type { FastifyInstance } from 'fastify';

import type { UnsubscribeLinks, UnsubscribeSubject } from '../src/preferences/unsubscribe.ts';

export interface UnsubscribeRoutesOptions {
  links: UnsubscribeLinks;
  unsubscribe: (subject: UnsubscribeSubject) => Promise<boolean>;
}

/** Maximum length of a token, in characters. A token with the longest ids is shorter. */
const MAX_TOKEN = 2_000;

/**
 * One-click unsubscribe (RFC 8058). Only POST unsubscribes. GET shows a page with a button, because mail scanners
 * follow links.
 */
export async function unsubscribeRoutes(app: FastifyInstance, options: UnsubscribeRoutesOptions): Promise<void> {
  app.removeAllContentTypeParsers();
  // Mail clients send the form `List-Unsubscribe=One-Click`. The body is ignored.
  app.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: 4_096 }, (_request, _body, done) => done(null));

  app.setErrorHandler((error, _request, reply) => {
    app.log.error({ error }, 'unsubscribe failed');
    return reply.code(503).headers(HEADERS).send(page('Something went wrong. Please try again in a moment.'));
  });

  const subjectOf = (token: unknown): UnsubscribeSubject | undefined =>
    typeof token === 'string' && token.length <= MAX_TOKEN ? options.links.read(token) : undefined;

  app.get<{ Querystring: { token?: unknown } }>('/unsubscribe', async ({ query }, reply) => {
    const subject = subjectOf(query.token);
    return reply
      .code(subject ? 200 : 404)
      .headers(HEADERS)
      .send(subject ? page('Unsubscribe?', BUTTON) : page('This link is not valid.'));
  });

  app.post<{ Querystring: { token?: unknown } }>('/unsubscribe', async ({ query }, reply) => {
    const subject = subjectOf(query.token);
    const isDone = subject !== undefined && (await options.unsubscribe(subject));
    return reply
      .code(isDone ? 200 : 404)
      .headers(HEADERS)
      .send(page(isDone ? 'You are unsubscribed.' : 'This link is not valid.'));
  });
}

const HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': "default-src 'none'; form-action 'self'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
};

const BUTTON = '<form method="post"><button>Unsubscribe</button></form>';

const page = (title: string, content = ''): string => `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title>
<h1>${title}</h1>${content}</html>
`;
