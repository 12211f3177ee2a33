import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

import type { ApolloServer } from '@apollo/server';
import { type DefinitionNode, type DocumentNode, Kind, parse, print, separateOperations } from 'graphql';
import { LRUCache } from 'lru-cache';

import { AppError, validationFailed } from '../../src/errors.ts';
import { projectRoot } from '../../src/project-root.ts';

/** Characters of the texts that are remembered together. */
const CACHE_SIZE = 4 * 1024 * 1024;

/** Apollo Server puts this before each hash. */
const APQ_PREFIX = 'apq:';

/** The part of a request that names a document. */
export interface DocumentRequest {
  query?: string | null | undefined;
  /** `sha256:<hash>`, as the GraphQL over HTTP specification has it. */
  documentId?: string | null | undefined;
  extensions?: Record<string, unknown> | null | undefined;
}

/** Operations that are known by the SHA-256 of their text. */
export interface PersistedOperations {
  /**
   * Texts by `apq:<hash>`, for Apollo Server's automatic persisted queries. Bounded by memory: the least recently used
   * text is dropped first. Published operations are found as well.
   */
  readonly store: ApolloServer['cache'];
  /**
   * The text of the document that a request asks for: it brings it along, or its hash was seen before.
   *
   * @throws `validation_failed`
   */
  textOf(request: DocumentRequest): string;
  /** The text of a request's document where it is known; undefined when `textOf` would throw. */
  find(request: DocumentRequest): string | undefined;
  /**
   * What is to be executed in place of an operation that a client brought.
   *
   * @throws `operation_not_trusted` where only trusted operations run, and it is none of them.
   */
  trusted(document: DocumentNode, operationName: string | null | undefined): DocumentNode;
}

/** An operation that the project itself publishes: with its fragments, in a form that does not depend on white space. */
export interface TrustedOperation {
  /** SHA-256 of the text, hex. */
  id: string;
  name: string;
  type: string;
  body: string;
}

/** Apollo's automatic persisted queries; and, where that is asked for, no other operations than those of the project. */
export function createPersistedOperations(trustedOnly?: readonly TrustedOperation[]): PersistedOperations {
  const texts = new LRUCache<string, string>({ maxSize: CACHE_SIZE, sizeCalculation: (text) => text.length + 64 });
  const published = new Map((trustedOnly ?? []).map(({ id, body }) => [id, body]));
  const documents = new Map((trustedOnly ?? []).map(({ id, body }) => [id, parse(body)]));
  // The same document is asked for again and again.
  const known = new WeakMap<DocumentNode, Map<string, DocumentNode | undefined>>();

  const textWith = (hash: string): string | undefined => published.get(hash) ?? texts.get(hash);

  return {
    store: {
      get: async (key) => textWith(key.slice(APQ_PREFIX.length)),
      set: async (key, text) => void texts.set(key.slice(APQ_PREFIX.length), text),
      delete: async (key) => texts.delete(key.slice(APQ_PREFIX.length)),
    },
    find: ({ query, documentId, extensions }) => {
      if (query) return query;
      const { sha256Hash } = (extensions?.['persistedQuery'] ?? {}) as { sha256Hash?: unknown };
      const hash = typeof sha256Hash === 'string' ? sha256Hash : documentId?.replace(/^sha256:/, '');
      return hash === undefined ? undefined : textWith(hash);
    },
    textOf: (request) => {
      const hash = hashIn(request);
      const { query } = request;
      if (!query) {
        if (hash === undefined) throw validationFailed([{ path: 'query', message: 'is missing' }]);
        const text = textWith(hash);
        if (text !== undefined) return text;
        // In these words clients know that they are to send the text.
        throw new AppError('validation_failed', 'PersistedQueryNotFound', {
          details: { code: 'PERSISTED_QUERY_NOT_FOUND' },
        });
      }
      if (hash === undefined) return query;
      if (sha256(query) !== hash) {
        throw validationFailed([{ path: 'extensions.persistedQuery.sha256Hash', message: 'is not that of the query' }]);
      }
      texts.set(hash, query);
      return query;
    },
    trusted: (document, operationName) => {
      if (!trustedOnly) return document;
      const names = known.get(document) ?? new Map<string, DocumentNode | undefined>();
      known.set(document, names);
      const name = operationName ?? '';
      if (!names.has(name)) names.set(name, documents.get(trustedId(document, name)));
      const found = names.get(name);
      if (found) return found;
      throw new AppError('operation_not_trusted', 'Here only the operations of schema/operations are run.');
    },
  };
}

function hashIn({ documentId, extensions }: DocumentRequest): string | undefined {
  const persisted = extensions?.['persistedQuery'];
  if (persisted === undefined || persisted === null) return documentId?.replace(/^sha256:/, '');
  const { version, sha256Hash } = persisted as { version?: unknown; sha256Hash?: unknown };
  if (version !== 1 || typeof sha256Hash !== 'string') {
    throw validationFailed([{ path: 'extensions.persistedQuery', message: 'must be {version: 1, sha256Hash}' }]);
  }
  return sha256Hash;
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** Empty where the document has no such operation. */
function trustedId(document: DocumentNode, operationName: string): string {
  const separated = separateOperations(document);
  const names = Object.keys(separated);
  const own = separated[operationName === '' && names.length === 1 ? (names[0] as string) : operationName];
  return own ? sha256(canonical(own)) : '';
}

/** The operation first, then its fragments by name: in whatever order and layout they were written. */
function canonical({ definitions }: DocumentNode): string {
  const rank = (definition: DefinitionNode): string =>
    definition.kind === Kind.FRAGMENT_DEFINITION ? definition.name.value : '';
  const sorted = definitions.toSorted((a, b) => rank(a).localeCompare(rank(b)));
  return print({ kind: Kind.DOCUMENT, definitions: sorted });
}

/** The operations of `schema/operations/`, by name. */
export async function loadTrustedOperations(): Promise<TrustedOperation[]> {
  const directory = join(projectRoot, 'schema', 'operations');
  const files = (await readdir(directory)).filter((name) => name.endsWith('.graphql')).toSorted();
  const texts = await Promise.all(files.map((name) => readFile(join(directory, name), 'utf8')));
  const separated = separateOperations(parse(texts.join('\n')));
  return Object.entries(separated)
    .map(([name, document]) => {
      const body = canonical(document);
      const operation = document.definitions.find(({ kind }) => kind === Kind.OPERATION_DEFINITION);
      const type = operation?.kind === Kind.OPERATION_DEFINITION ? operation.operation : '';
      return { id: sha256(body), name, type, body };
    })
    .toSorted((a, b) => a.name.localeCompare(b.name));
}

/** As Apollo's persisted query manifest, the form that client tools and routers read. */
export const printManifest = (operations: readonly TrustedOperation[]): string =>
  `${JSON.stringify({ format: 'apollo-persisted-query-manifest', version: 1, operations }, null, 2)}\n`;
