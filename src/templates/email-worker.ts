import { parentPort } from 'node:worker_threads';

import { type BuiltEmail, buildPage, type EmailSource, type MjmlCompiler, type StyleInliner } from './email.ts';
import type { ThreadAnswer, ThreadJob } from './thread.ts';

// Worker thread that builds emails: see `email.ts`. MJML is loaded on first use, because loading takes half a second.

const loadMjml = async () => {
  const [{ default: mjml, ...core }, { default: preset }, validator] = await Promise.all([
    import('mjml-core'),
    import('mjml-preset-core'),
    import('mjml-validator'),
  ]);
  core.assignComponents(core.components, preset.components);
  validator.assignDependencies(validator.dependencies, preset.dependencies);
  return mjml.default;
};
let loaded: ReturnType<typeof loadMjml> | undefined;

const compileMjml: MjmlCompiler = async (source) => {
  const compile = await (loaded ??= loadMjml());
  try {
    // The template cannot include files or load remote fonts.
    const { html, errors } = await compile(source, { validationLevel: 'soft', fonts: {}, ignoreIncludes: true });
    return {
      html,
      errors: errors.map(({ line, message, tagName }) => ({ line, message: `<${tagName}>: ${message}` })),
    };
  } catch {
    return { html: '', errors: [{ line: 1, message: 'MJML must be one <mjml> element that contains <mj-body>' }] };
  }
};

/** This function of `juice` does not load remote resources. */
const inlineStyles: StyleInliner = async (html) => {
  const { default: juice } = await import('juice');
  return juice(html, {
    preserveMediaQueries: true,
    preserveFontFaces: true,
    preserveKeyFrames: true,
    preservePseudos: true,
  });
};

parentPort?.on('message', async ({ id, question }: ThreadJob<EmailSource>) => {
  let answer: BuiltEmail;
  try {
    answer = await buildPage(question, { compileMjml, inlineStyles });
  } catch (error) {
    answer = { html: null, problems: [{ message: `the email cannot be built: ${(error as Error).message}` }] };
  }
  const message: ThreadAnswer<BuiltEmail> = { id, answer };
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
  parentPort?.postMessage(message);
});
