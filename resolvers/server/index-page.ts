import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import type { FastifyInstance, FastifyRequest } from 'fastify';
import Negotiator from 'negotiator';

import { type Actor, mayDo } from '../../src/identity/actor.ts';
import type { Authenticate } from '../../src/identity/verify.ts';
import { projectRoot } from '../../src/project-root.ts';
import { identify } from './identity.ts';

export interface IndexPageOptions {
  isDev: boolean;
  authenticate: Authenticate;
  /** Returns a token for the link to GraphiQL. Set only in dev on a loopback address. */
  graphiqlToken?: (() => string | undefined) | undefined;
}

interface Link {
  name: string;
  method: 'GET' | 'POST';
  /** Relative to this page, for a service that is mounted under a path. */
  path: string;
  description: string;
}

interface Entry extends Link {
  /** Whether the page shows the link outside dev. */
  isFor: (caller: Actor | undefined) => boolean;
}

const never = () => false;

const ENTRIES: Entry[] = [
  { name: 'GraphiQL', method: 'GET', path: 'graphiql', description: 'runs queries in the browser', isFor: () => true },
  { name: 'Mailbox', method: 'GET', path: 'mailbox', description: 'messages that were not sent', isFor: never },
  {
    name: 'GraphQL',
    method: 'POST',
    path: 'graphql',
    description: 'queries, mutations and subscriptions',
    isFor: (caller) => caller !== undefined,
  },
  {
    name: 'Events',
    method: 'POST',
    path: 'events',
    description: 'CloudEvents of producers',
    isFor: (caller) => caller !== undefined && mayDo(caller, 'notif.ingest'),
  },
  { name: 'Alive', method: 'GET', path: 'healthz', description: 'the process runs', isFor: never },
  { name: 'Ready', method: 'GET', path: 'readyz', description: 'its servers answer', isFor: never },
  { name: 'Metrics', method: 'GET', path: 'metrics', description: 'for Prometheus', isFor: never },
];

/** Pages of the documentation, which is part of the repository and not of the service. */
const DOCUMENTATION = 'README.md and docs/ in the repository';

const STYLE = `
:root { color-scheme: light dark; font: 16px/1.6 system-ui, sans-serif; }
body { max-width: 40rem; margin: 3rem auto; padding: 0 1.25rem; }
h1 { margin: 0; font-size: 1.4rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.25rem 1.25rem; margin: 1.5rem 0; }
dd { margin: 0; }
`;

const HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy': [
    `default-src 'none'`,
    `style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`,
    'img-src data:',
    `base-uri 'none'`,
    `form-action 'none'`,
    `frame-ancestors 'none'`,
  ].join('; '),
  'referrer-policy': 'no-referrer',
  vary: 'accept, authorization',
  'x-content-type-options': 'nosniff',
};

/**
 * Serves `/`: name and version of the service, and links. In dev these are all links; elsewhere those that the caller
 * may use. Browsers get a page, other clients get JSON.
 */
export async function indexPage(
  app: FastifyInstance,
  { isDev, authenticate, graphiqlToken }: IndexPageOptions,
): Promise<void> {
  const { name, version } = JSON.parse(await readFile(join(projectRoot, 'package.json'), 'utf8')) as {
    name: string;
    version: string;
  };
  const linksFor = (caller: Actor | undefined): Link[] =>
    ENTRIES.filter(
      ({ isFor, method, path }) => (isDev || isFor(caller)) && app.hasRoute({ method, url: `/${path}` }),
    ).map(({ isFor: _isFor, ...link }) => link);

  app.get('/', async (request, reply) => {
    const links = linksFor(await callerOf(request, authenticate));
    void reply.headers(HEADERS);
    const isPage = new Negotiator(request.raw).mediaType(['application/json', 'text/html']) === 'text/html';
    if (!isPage) return { name, version, links, ...(isDev ? { documentation: DOCUMENTATION } : {}) };
    return reply.type('text/html; charset=utf-8').send(page(`${name} ${version}`, signedIn(links, request), isDev));
  });

  // Only for the name of this machine: under any other name the page could belong to a website whose DNS record points
  // to a loopback address, and its script could read the token.
  function signedIn(links: Link[], { hostname }: FastifyRequest): Link[] {
    const token = isDev && isLoopback(hostname) ? graphiqlToken?.() : undefined;
    if (token === undefined) return links;
    return links.map((link) =>
      link.name === 'GraphiQL'
        ? { ...link, path: `${link.path}#token=${token}`, description: `${link.description}, signed in as admin` }
        : link,
    );
  }
}

/** True for a host name or address that only this machine can reach. */
export const isLoopback = (host: string): boolean => ['localhost', '127.0.0.1', '::1', '[::1]'].includes(host);

/** Returns undefined for an invalid token, because the page is public. */
const callerOf = (request: FastifyRequest, authenticate: Authenticate): Promise<Actor | undefined> =>
  identify(request, { authenticate, isSchemaOpen: true }).catch(() => undefined);

// Nothing on the page comes from a request, so nothing needs escaping.
const page = (title: string, links: Link[], isDev: boolean): string => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<link rel="icon" href="data:,">
<style>${STYLE}</style>
<h1>${title}</h1>
<dl>
${links.map((link) => `<dt>${label(link)}</dt><dd>${link.description}</dd>`).join('\n')}
</dl>
${isDev ? `<p>Documentation: ${DOCUMENTATION}.</p>` : ''}
</html>
`;

/** A link only for GET, because a browser cannot open other methods. */
const label = ({ method, name, path }: Link): string =>
  method === 'GET' ? `<a href="${path}">${name}</a>` : `${name} <code>${method} /${path}</code>`;
