import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

import { describe, expect, it } from 'vitest';

import { projectRoot } from '../src/project-root.ts';

const sources = (folder: string): string[] =>
  readdirSync(join(projectRoot, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts') && !file.includes('node_modules'))
    .map((file) => join(folder, file));

/** Returns the project's files that a file imports, by path from the root. */
function importsOf(file: string): string[] {
  const text = readFileSync(join(projectRoot, file), 'utf8');
  const specifiers = [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.{1,2}\/[^']+)'/g)].map(
    (match) => match[1] as string,
  );
  return specifiers.map((specifier) => relative(projectRoot, resolve(projectRoot, dirname(file), specifier)));
}

/** Returns the packages and Node modules that a file imports. */
const packagesOf = (file: string): string[] =>
  [...readFileSync(join(projectRoot, file), 'utf8').matchAll(/(?:from|import)\s*\(?\s*'([^'.][^']*)'/g)].map(
    (match) => match[1] as string,
  );

const isIn = (folder: string) => (file: string) => file.startsWith(`${folder}/`);

describe('the architecture', () => {
  const entryPoints = ['consumers', 'resolvers'];

  it('allows imports in one direction only, except for the wiring: consumers → src ← resolvers', () => {
    const wrong = sources('src')
      .filter((file) => file !== join('src', 'service.ts') && !isIn(join('src', 'roles'))(file))
      .flatMap((file) => importsOf(file).map((imported) => ({ file, imported })))
      .filter(({ imported }) => entryPoints.some((entryPoint) => isIn(entryPoint)(imported)));
    expect(wrong).toEqual([]);
  });

  it('forbids imports between consumers/ and resolvers/', () => {
    const wrong = entryPoints.flatMap((entryPoint) =>
      sources(entryPoint)
        .flatMap((file) => importsOf(file).map((imported) => ({ file, imported })))
        .filter(({ imported }) => entryPoints.some((other) => other !== entryPoint && isIn(other)(imported))),
    );
    expect(wrong).toEqual([]);
  });

  it('has no import cycle, including types', () => {
    const files = ['src', 'consumers', 'resolvers'].flatMap(sources);
    const isFinished = new Map<string, boolean>();
    const cycleFrom = (file: string, path: readonly string[]): readonly string[] | undefined => {
      if (isFinished.get(file)) return undefined;
      if (isFinished.has(file)) return [...path.slice(path.indexOf(file)), file];
      isFinished.set(file, false);
      for (const imported of importsOf(file).filter((name) => name.endsWith('.ts'))) {
        const cycle = cycleFrom(imported, [...path, file]);
        if (cycle) return cycle;
      }
      isFinished.set(file, true);
      return undefined;
    };
    expect(files.map((file) => cycleFrom(file, [])).find((cycle) => cycle !== undefined)).toBeUndefined();
  });

  it('keeps the client package independent of Node and the service', () => {
    const files = sources('client').filter((file) => !isIn(join('client', 'dist'))(file));
    const wrong = files.flatMap((file) => [
      ...importsOf(file).filter((imported) => !isIn('client')(imported)),
      ...packagesOf(file).filter((name) => name !== 'graphql-ws/client'),
    ]);
    expect(files).toContain(join('client', 'index.ts'));
    expect(wrong).toEqual([]);
  });

  it('keeps GraphQL and Kafka out of the core', () => {
    const wrong = sources('src').filter((file) =>
      /from '(graphql|graphql-ws|type-graphql|@apollo\/[^']+|kafkajs)'/.test(
        readFileSync(join(projectRoot, file), 'utf8'),
      ),
    );
    expect(wrong).toEqual([]);
  });

  it('allows decorators only in resolvers/', () => {
    const decorated = [...sources('src'), ...sources('consumers'), ...sources('migrations')].filter((file) =>
      /^\s*@[A-Z]\w*\(/m.test(readFileSync(join(projectRoot, file), 'utf8')),
    );
    expect(decorated).toEqual([]);
  });

  it('builds the core in one file', () => {
    const parts = ['identity', 'intake', 'delivery', 'inbox', 'templates', 'tenants', 'channels', 'live', 'database'];
    const seesAll = [...sources('src'), ...sources('consumers'), ...sources('resolvers')].filter((file) => {
      const imported = importsOf(file);
      return parts.every((part) => imported.some(isIn(`src/${part}`)));
    });
    expect(seesAll).toEqual([join('src', 'create-core.ts')]);
  });

  it('tests real parts: no test mocks a module', () => {
    const mocks = sources('test').filter((file) =>
      /\bvi\s*\.\s*(mock|doMock|spyOn|stubGlobal)\(/.test(readFileSync(join(projectRoot, file), 'utf8')),
    );
    expect(mocks).toEqual([]);
  });
});
