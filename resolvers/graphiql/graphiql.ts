import { existsSync } from 'node:fs';
import { join } from 'node:path';

import fastifyStatic from '@fastify/static';
import type { FastifyInstance } from 'fastify';

import { projectRoot } from '../../src/project-root.ts';

/**
 * Content security policy: this host only. Exceptions: the editor inserts `<style>` elements and `data:` images. Remote
 * images stay blocked, because GraphiQL shows a preview of image URLs in a response.
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

/** Output folder of `npm run build:graphiql`. */
const BUILT = join(projectRoot, 'dist', 'graphiql');

/** Serves the built GraphiQL under `/graphiql/`. If it has not been built, the response explains how to build it. */
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

  // Relative, for a service behind a path prefix. Browsers keep the fragment (`#token=…`) on a redirect.
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
      // Names of files in assets/ contain a hash of their content, so they can be cached. index.html must not be
      // cached.
      const hashed = path.startsWith(join(directory, 'assets'));
      reply.header('cache-control', hashed ? 'public, max-age=31536000, immutable' : 'no-cache');
    },
  });
}
