import { execFile } from 'node:child_process';
import { existsSync, globSync, readFileSync, statSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

import { buildSchema, parse as parseGraphql, validate } from 'graphql';
import { transformWithOxc } from 'vite';
import { describe, expect, it } from 'vitest';
import { parse as parseYaml } from 'yaml';

import { EVENT_TYPES, parseEvent } from '../consumers/events/index.ts';
import { eventValidator } from '../consumers/events/validate.ts';
import { createProviders } from '../src/channels/registry.ts';
import { ERROR_STATUS } from '../src/errors.ts';
import type { Channel } from '../src/intake/channel.ts';
import { createLog } from '../src/log.ts';
import { createMetrics } from '../src/observability/metrics.ts';
import { projectRoot } from '../src/project-root.ts';
import { tenantFiles } from '../src/tenants/files.ts';
import { type Block, linksOf, parsePage, readPage, readPages, tableUnder } from './support/pages.ts';

const pages = readPages();
const page = (path: string) => {
  const found = pages.find((one) => one.path === path);
  if (!found) throw new Error(`There is no page ${path}.`);
  return found;
};
const { scripts } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as { scripts: object };

/** Returns every block in one of the languages, with a name of its page and first line. */
const blocksIn = (...languages: string[]): [string, Block][] =>
  pages.flatMap(({ path, blocks }) =>
    blocks
      .filter(({ language }) => languages.includes(language))
      .map((block): [string, Block] => [`${path}: ${block.code.split('\n', 1)[0]}`, block]),
  );

/** Returns the code spans of a text. */
const codeIn = (text: string): string[] => [...text.matchAll(/`([^`\n]+)`/g)].map(([, code]) => code as string);

describe('parsePage', () => {
  it('finds blocks, anchors and links like GitHub does', () => {
    const { blocks, anchors, prose } = parsePage(
      '# A `b` & c\n\n## Why?\n\n```sh no-run\n# not a heading\n```\n\n## Why?\n\n[x](docs/a.md#b) `[y](z)` <img src="i.png">\n',
    );
    expect(blocks).toEqual([{ language: 'sh', info: 'no-run', code: '# not a heading\n' }]);
    expect([...anchors]).toEqual(['a-b--c', 'why', 'why-1']);
    expect(linksOf({ prose })).toEqual(['docs/a.md#b', 'i.png']);
  });
});

/** Pages outside docs/ to which the documentation links. */
const linked = ['bench/README.md', 'client/README.md', 'schema/stream-protocol.md'].map(readPage);

describe.each([...pages, ...linked].map((one) => [one.path, one] as const))('%s', (path, { blocks, prose }) => {
  it('links only to files and headings that exist', () => {
    const broken = linksOf({ prose }).filter((link) => {
      if (/^[a-z]+:/.test(link)) return !/^(https:\/\/|http:\/\/127\.0\.0\.1)/.test(link);
      const [file = '', anchor] = link.split('#', 2);
      const target = file === '' ? path : join(dirname(path), file);
      if (target.startsWith('..') || !existsSync(join(projectRoot, target))) return true;
      return anchor !== undefined && !readPage(target).anchors.has(anchor);
    });
    expect(broken).toEqual([]);
  });

  it('names only npm scripts that exist', () => {
    const code = [...codeIn(prose), ...blocks.map((block) => block.code)].join('\n');
    const named = [...code.matchAll(/npm (?:run (?:-s )?)?([a-z][a-z:-]*)/g)].map((match) => match[1] as string);
    const known = new Set([...Object.keys(scripts), 'ci', 'install', 'pack', 'prune']);
    expect(named.filter((name) => !known.has(name))).toEqual([]);
  });

  it('names only files of the project that exist', () => {
    const roots = 'bench|client|consumers|demo|docs|migrations|resolvers|schema|src|tenants|test|tools';
    const named = codeIn(prose).filter((code) => new RegExp(`^(${roots})/[\\w./-]*$`).test(code));
    expect(named.filter((file) => !existsSync(join(projectRoot, file)))).toEqual([]);
  });
});

describe('names in the documentation', () => {
  const sdl = readFileSync(join(projectRoot, 'schema', 'subgraph.graphql'), 'utf8');
  const sources = ['consumers', 'resolvers', 'src'].flatMap((folder) =>
    globSync(`${folder}/**/*.ts`, { cwd: projectRoot }).map((file) => readFileSync(join(projectRoot, file), 'utf8')),
  );
  const known = new Set([sdl, ...sources].flatMap((text) => text.match(/\w+/g) ?? []));
  // A field of Novu, in the comparison of the README.
  known.add('transactionId');
  const camelCase = /^[a-z]+(?:[A-Z][a-z]+)+$/;

  it.each(pages.filter(({ path }) => path !== 'CHANGELOG.md').map(({ path, prose }) => [path, prose]))(
    'exist as fields, settings or variables: %s',
    (_path, prose = '') => {
      const words = codeIn(prose).flatMap((code) => code.match(/\w+/g) ?? []);
      const named = words.filter((word) => camelCase.test(word) || /^[A-Z]+_[A-Z_]+$/.test(word));
      expect(named.filter((name) => !known.has(name) && !name.startsWith('TEST_'))).toEqual([]);
    },
  );
});

describe('blocks of the documentation', () => {
  const schema = buildSchema(readFileSync(join(projectRoot, 'schema', 'subgraph.graphql'), 'utf8'), {
    assumeValid: true,
  });

  it.each(blocksIn('graphql'))('contain GraphQL that is valid against the schema: %s', (_name, { code }) => {
    expect(validate(schema, parseGraphql(code)).map(({ message }) => message)).toEqual([]);
  });

  const isEvent = ([, { info }]: [string, Block]): boolean => info !== 'signal.emit';

  it.each(blocksIn('json').filter(isEvent))(
    'contain an event that the service accepts: %s',
    (_name, { code, info }) => {
      const payload: unknown = JSON.parse(code);
      expect(parseEvent({ type: info, payload, position: ['docs'] })).toMatchObject({ kind: 'command' });
    },
  );

  it.each(blocksIn('json').filter((block) => !isEvent(block)))(
    'contain a message that is valid for the Redis channel: %s',
    (_name, { code, info }) => {
      const payload: unknown = JSON.parse(code);
      expect(eventValidator(info)(payload)).toEqual(payload);
    },
  );

  it.each(blocksIn('ts', 'js'))('contain code that compiles: %s', async (_name, { code }) => {
    await expect(transformWithOxc(code, 'block.ts')).resolves.toMatchObject({ code: expect.any(String) });
  });

  it.each(blocksIn('yaml'))('contain valid YAML: %s', (_name, { code }) => {
    expect(parseYaml(code)).toBeTypeOf('object');
  });

  it.each(blocksIn('sh'))('contain a script that bash can parse: %s', async (_name, { code, info }) => {
    expect(['', 'no-run']).toContain(info);
    await promisify(execFile)('bash', ['-n', '-c', code]);
  });

  it('use only languages that this test checks', () => {
    const checked = new Set(['graphql', 'json', 'js', 'mermaid', 'sh', 'ts', 'yaml']);
    const languages = pages.flatMap(({ blocks }) => blocks.map(({ language }) => language));
    expect(languages.filter((language) => !checked.has(language))).toEqual([]);
  });
});

describe('docs/configuration.md', () => {
  it('names every environment variable that the configuration reads, and no other', () => {
    const source = readFileSync(join(projectRoot, 'src', 'config.ts'), 'utf8');
    const read = new Set([...source.matchAll(/'([A-Z][A-Z_]{3,})'/g)].map((match) => match[1] as string));
    const documented = tableUnder(page('docs/configuration.md'), '# Configuration').flatMap(([names = '']) =>
      codeIn(names),
    );
    expect(documented.toSorted()).toEqual([...read].toSorted());
  });
});

describe('docs/producers.md', () => {
  it('names every event type, and no other', () => {
    const documented = tableUnder(page('docs/producers.md'), '## Which event').map(([name = '']) => codeIn(name)[0]);
    expect(documented.toSorted()).toEqual(EVENT_TYPES.toSorted());
  });
});

describe('docs/front-ends.md', () => {
  it('names every error code with its HTTP status', () => {
    const documented = tableUnder(page('docs/front-ends.md'), '## Errors')
      .filter(([, status = '']) => /^\d/.test(status))
      .flatMap(([codes = '', status = '']) => codeIn(codes).map((code) => [code, Number.parseInt(status, 10)]));
    expect(Object.fromEntries(documented)).toEqual(ERROR_STATUS);
  });
});

describe('docs/operators.md', () => {
  it('does not start the service with npx, which does not pass SIGTERM on', () => {
    const commands = pages.flatMap(({ blocks }) => blocks.map(({ code }) => code)).join('\n');
    expect(commands).not.toContain('npx notification-subgraph');
    expect(commands).toContain('node_modules/.bin/notification-subgraph\n');
  });

  it('names every metric, and no other', () => {
    const metrics = createMetrics({ queueSize: async () => [] });
    const documented = tableUnder(page('docs/operators.md'), '## Metrics').map(([name = '']) => codeIn(name)[0]);
    expect(documented.toSorted()).toEqual(
      metrics.registry
        .getMetricsAsArray()
        .map(({ name }) => name)
        .toSorted(),
    );
  });
});

describe('docs/admins.md', () => {
  it('exports a tenant with `npm run -s`, because npm prints to standard output otherwise', () => {
    expect(pages.map(({ text }) => text).join('\n')).not.toContain('npm run tenant:export');
  });

  it('shows a settings file that is accepted as it stands', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'notification-docs-'));
    const file = page('docs/admins.md').blocks.find(({ language }) => language === 'yaml');
    await writeFile(join(folder, 'tenant.yaml'), file?.code ?? '');
    const settings = await tenantFiles(folder, createLog('silent')).read('tenant');
    await rm(folder, { recursive: true });
    expect(Object.keys(settings ?? {})).toEqual(Object.keys(parseYaml(file?.code ?? '') as object));
  });

  it('names every provider, and no other', async () => {
    const providers = createProviders({ readSecret: async () => '', outboundAllow: [], mailThreads: 0 });
    const table = tableUnder(page('docs/admins.md'), '## Providers').map(([channel = '', name = '']) => [
      codeIn(channel)[0],
      codeIn(name)[0],
    ]);
    expect(table.length).toBeGreaterThan(0);
    expect(table.map(([channel, name]) => providers.find(channel as Channel, name as string)?.name)).toEqual(
      table.map(([, name]) => name),
    );
    await providers.close();
  });
});

describe('pictures', () => {
  it.each(['graphiql', 'mailbox', 'demo'])('%s.png is shown on a page, and is smaller than 200 KB', (name) => {
    const file = `docs/images/${name}.png`;
    expect(page('README.md').text).toContain(`](${file})`);
    expect(readFileSync(join(projectRoot, file)).subarray(1, 4).toString()).toBe('PNG');
    expect(statSync(join(projectRoot, file)).size).toBeLessThan(200_000);
  });
});
