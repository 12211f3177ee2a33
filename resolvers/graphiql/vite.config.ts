import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const folder = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** Builds the GraphiQL page into `dist/graphiql`, without a CDN or remote fonts. */
export default defineConfig({
  root: folder('app'),
  // Relative, so that the page also works behind a path prefix.
  base: './',
  publicDir: false,
  // Two copies of graphql refuse each other's schemas, and two copies of the editor do not share state.
  resolve: { dedupe: ['graphql', 'monaco-editor', 'react', 'react-dom'] },
  build: {
    outDir: folder('../../dist/graphiql'),
    emptyOutDir: true,
    // The editor has 3 MB, so the warning would appear in every build.
    chunkSizeWarningLimit: 4_000,
    reportCompressedSize: false,
    rolldownOptions: {
      // Hides hundreds of warnings about `use client` directives in libraries, which have no effect in a browser
      // bundle.
      onLog(level, log, handle) {
        if (log.code !== 'MODULE_LEVEL_DIRECTIVE') handle(level, log);
      },
    },
  },
  worker: { format: 'es' },
});
