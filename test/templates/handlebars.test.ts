import fc from 'fast-check';
import Handlebars from 'handlebars';
import { expect, it } from 'vitest';

import { Budget, evaluate } from '../../src/templates/evaluate.ts';
import { analyse } from '../../src/templates/syntax.ts';

const ours = (source: string, data: object): string => {
  const { program, problems } = analyse(source);
  if (!program) throw new Error(`${problems[0]?.message}: ${source}`);
  const message = { locale: 'en', timeZone: 'UTC', now: new Date(), unsubscribeUrl: null };
  return evaluate(program, { data, ...message, isHtml: true, budget: new Budget() });
};
const theirs = (source: string, data: object): string => Handlebars.compile(source)(data);

const leaf = fc.constantFrom<unknown>('', 'x', '<b>', 0, 1, -1.5, true, false, null, [], ['a', 'b'], [0]);
const PLAIN = { noNullPrototype: true };
const item = fc.record({ n: leaf, m: leaf }, PLAIN);
const data = fc.record(
  { a: leaf, b: fc.record({ c: leaf, n: leaf }, PLAIN), l: fc.array(item, { maxLength: 3 }), n: leaf },
  PLAIN,
);
// The subject of a block does not use `../`: Handlebars adds no level when a block's value equals its parent's.
const subject = fc.constantFrom('a', 'b', 'b.c', 'n', 'l', 'l.0.n', 'x', 'm');
const path = fc.constantFrom(
  'a',
  'b.c',
  'b.n',
  'n',
  'this.a',
  './n',
  'm',
  'l.0.n',
  '../n',
  '../a',
  '@index',
  '@first',
  'x',
  'x.n',
  'k',
);
const text = fc.constantFrom('t', ' ', '\n', '  \n', '{{! note }}', '{{~! x ~}}', '<p>', '\\{{a}}');
const { body } = fc.letrec<{ body: string; node: string }>((tie) => ({
  body: fc.array(tie('node'), { maxLength: 4 }).map((nodes) => nodes.join('')),
  node: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    text,
    path.map((name) => `{{${name}}}`),
    path.map((name) => `raw {{{${name}}}}`),
    path.map((name) => `{{~${name}~}}`),
    fc
      .tuple(
        fc.constantFrom('if', 'unless', 'each', 'with'),
        subject,
        fc.constantFrom('', ' as |x|', ' as |x k|'),
        tie('body'),
        tie('body'),
      )
      .map(([name, value, names, one, two]) => {
        const given = name === 'each' || name === 'with' ? names.replace(name === 'with' ? ' k' : '', '') : '';
        return `{{#${name} ${value}${given}}}${one}{{else}}${two}{{/${name}}}`;
      }),
    fc
      .tuple(path, path, tie('body'), tie('body'))
      .map(([a, b, one, two]) => `{{#if ${a}}}${one}{{else if ${b}}}\n${two}\n{{/if}}`),
  ),
}));

// The generator puts a text before `{{{`, because Handlebars adds adjacent numbers. Templates with missing variables
// are skipped, because our renderer is strict.
it('evaluates a template to the same text as Handlebars', () => {
  let compared = 0;
  fc.assert(
    fc.property(body, data, (source, params) => {
      let result;
      try {
        result = ours(source, params);
      } catch (error) {
        if (
          /has more "\.\.\/"|is not allowed/.test((error as Error).message) ||
          (error as Error).name === 'TemplateVariableMissing'
        )
          return;
        throw error;
      }
      compared += 1;
      // We print objects as [object] and do not call their methods.
      expect(result).toBe(theirs(source, params).replaceAll('[object Object]', '[object]'));
    }),
    { numRuns: 1_000 },
  );
  expect(compared).toBeGreaterThan(300);
});
