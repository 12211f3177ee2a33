import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const folder = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** Builds the GraphiQL page into `dist/graphiql`, with everything it needs inside: no CDN, no fonts from elsewhere. */
export default defineConfig({
  root: folder('app'),
  // Relative, so that the page also works behind a proxy that serves us under a path.
  base: './',
  publicDir: false,
  // Two copies of graphql would refuse each other's schemas; two copies of the editor would not see each other.
  resolve: { dedupe: ['graphql', 'monaco-editor', 'react', 'react-dom'] },
  build: {
    outDir: folder('../../dist/graphiql'),
    emptyOutDir: true,
    // The editor alone is 3 MB; the warning would come up on each build.
    chunkSizeWarningLimit: 4_000,
    reportCompressedSize: false,
    rolldownOptions: {
      // React's `use client` marks in libraries: hundreds of lines about something a bundle for browsers ignores.
      onLog(level, log, handle) {
        if (log.code !== 'MODULE_LEVEL_DIRECTIVE') handle(level, log);
      },
    },
  },
  worker: { format: 'es' },
});
