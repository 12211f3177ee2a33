import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { parseExact } from '../../src/exact-json.ts';
import { projectRoot } from '../../src/project-root.ts';
import { HELPERS } from '../../src/templates/helpers.ts';
import { lintTemplate } from '../../src/templates/lint.ts';
import { renderTemplate } from '../../src/templates/render.ts';
import { BLOCK_HELPERS } from '../../src/templates/syntax.ts';

const page = readFileSync(join(projectRoot, 'docs/templates.md'), 'utf8');
const examples = [...page.matchAll(/^\| `(.*)` +\| `(\{.*\})` +\| (\S+) +\| `(.*)` +\|$/gm)].map(
  ([, body = '', params = '', locale = '', result = '']) => ({
    body: body.replaceAll('\\|', '|'),
    params: parseExact(params) as Record<string, unknown>,
    locale,
    result,
  }),
);

describe('docs/templates.md', () => {
  it.each(examples)('shows the actual result of $body in $locale', async ({ body, params, locale, result }) => {
    const texts = { channel: 'email' as const, subject: 's', body, text: null };
    expect((await lintTemplate(texts, { mayUseRaw: false })).problems).toEqual([]);
    const rendered = renderTemplate(
      {
        ...texts,
        locale,
        templateId: `${locale} ${body}`,
        version: 1,
        tenantId: 't',
        eventCode: 'e',
        defaultParams: {},
      },
      params,
    );
    // Locales use different kinds of spaces next to numbers. They look the same on the page.
    expect((rendered.html ?? rendered.text).replaceAll(/[\u00a0\u202f]/g, ' ')).toBe(result);
  });

  it('has an example of every helper and every block', () => {
    const shown = examples.map(({ body }) => body).join('\n');
    const missing = [...Object.keys(HELPERS), ...BLOCK_HELPERS].filter(
      (name) => !new RegExp(`[#{(]${name} `).test(shown),
    );
    expect(missing).toEqual([]);
    // Every example on the page was found by the regular expression above.
    expect(page.match(/^\| `.*` +\| `/gm)).toHaveLength(examples.length);
  });
});
