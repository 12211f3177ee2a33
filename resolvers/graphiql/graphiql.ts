import { existsSync } from 'node:fs';
import { join } from 'node:path';

import fastifyStatic from '@fastify/static';
import type { FastifyInstance } from 'fastify';

import { projectRoot } from '../../src/project-root.ts';

/**
 * Only this host. The editor and its animations insert `<style>` elements and images as data, hence the two exceptions.
 * Images that a response links to stay blocked: pointing at a URL in a result must not make the browser fetch it.
 */
const CONTENT_SECURITY_POLICY = [
  `default-src 'self'`,
  `style-src 'self' 'unsafe-inline'`,
  `img-src 'self' data:`,
  `font-src 'self' data:`,
  `object-src 'none'`,
  `base-uri 'none'`,
  `form-action 'none'`,
  `frame-ancestors 'none'`,
].join('; ');

/** Where `npm run build:graphiql` puts the page. */
const BUILT = join(projectRoot, 'dist', 'graphiql');

/** Serves the built GraphiQL under `/graphiql/`, or says how to build it. */
export async function graphiqlRoutes(app: FastifyInstance, options: { directory?: string } = {}): Promise<void> {
  const directory = options.directory ?? BUILT;

  if (!existsSync(join(directory, 'index.html'))) {
    for (const path of ['/graphiql', '/graphiql/*']) {
      app.get(path, (_request, reply) =>
        reply
          .code(503)
          .type('text/plain; charset=utf-8')
          .send('GraphiQL has not been built. Run `npm run build:graphiql`, then start the service again.\n'),
      );
    }
    return;
  }

  // Relative, for a service mounted under a path. Browsers carry the fragment (`#token=…`) over to the new address.
  app.get('/graphiql', (_request, reply) => reply.redirect('graphiql/', 302));

  await app.register(fastifyStatic, {
    root: directory,
    prefix: '/graphiql/',
    decorateReply: false,
    cacheControl: false,
    setHeaders(reply, path) {
      reply.header('content-security-policy', CONTENT_SECURITY_POLICY);
      reply.header('x-content-type-options', 'nosniff');
      reply.header('referrer-policy', 'no-referrer');
      // Files under assets/ carry a hash of their content in the name; index.html names them and must stay fresh.
      const hashed = path.startsWith(join(directory, 'assets'));
      reply.header('cache-control', hashed ? 'public, max-age=31536000, immutable' : 'no-cache');
    },
  });
}
