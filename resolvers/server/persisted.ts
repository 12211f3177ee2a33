import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

import type { ApolloServer } from '@apollo/server';
import { type DefinitionNode, type DocumentNode, Kind, parse, print, separateOperations } from 'graphql';
import { LRUCache } from 'lru-cache';

import { AppError, validationFailed } from '../../src/errors.ts';
import { projectRoot } from '../../src/project-root.ts';

/** Maximum total length of cached texts, in characters. */
const CACHE_SIZE = 4 * 1024 * 1024;

/** Prefix of hashes in Apollo Server. */
const APQ_PREFIX = 'apq:';

/** The part of a request that contains or identifies a document. */
export interface DocumentRequest {
  query?: string | null | undefined;
  /** `sha256:<hash>` (GraphQL over HTTP specification). */
  documentId?: string | null | undefined;
  extensions?: Record<string, unknown> | null | undefined;
}

/** Operations that clients can request by the SHA-256 of their text. */
export interface PersistedOperations {
  /**
   * Cache of Apollo Server's automatic persisted queries, with keys `apq:<hash>`. Bounded by memory; the least recently
   * used text is dropped first. Also contains the published operations.
   */
  readonly store: ApolloServer['cache'];
  /**
   * Returns the text of the requested document: from the request, or by its hash.
   *
   * @throws `validation_failed`, also when the hash is unknown
   */
  textOf(request: DocumentRequest): string;
  /** Returns the text of the requested document; undefined when it is not known. */
  find(request: DocumentRequest): string | undefined;
  /**
   * Returns the document to execute: the trusted document that equals the operation; the given one without restriction.
   *
   * @throws `operation_not_trusted` when only trusted operations are allowed and it is not one of them.
   */
  trusted(document: DocumentNode, operationName: string | null | undefined): DocumentNode;
}

/** An operation in `schema/operations/` with its fragments, in a canonical form. */
export interface TrustedOperation {
  /** SHA-256 of the text, hex. */
  id: string;
  name: string;
  type: string;
  body: string;
}

/** Creates the store of automatic persisted queries. With `trustedOnly`, only those operations may run. */
export function createPersistedOperations(trustedOnly?: readonly TrustedOperation[]): PersistedOperations {
  const texts = new LRUCache<string, string>({ maxSize: CACHE_SIZE, sizeCalculation: (text) => text.length + 64 });
  const published = new Map((trustedOnly ?? []).map(({ id, body }) => [id, body]));
  const documents = new Map((trustedOnly ?? []).map(({ id, body }) => [id, parse(body)]));
  // Caches the trusted document of each document and operation name.
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
        // Clients recognize this message and send the text.
        throw new AppError('validation_failed', 'PersistedQueryNotFound', {
          details: { code: 'PERSISTED_QUERY_NOT_FOUND' },
        });
      }
      if (hash === undefined) return query;
      if (sha256(query) !== hash) {
        throw validationFailed([
          { path: 'extensions.persistedQuery.sha256Hash', message: 'is not the SHA-256 of the query' },
        ]);
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
      throw new AppError('operation_not_trusted', 'This server runs only the operations in schema/operations/.');
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

/** Returns the id of an operation; empty when the document does not contain it. */
function trustedId(document: DocumentNode, operationName: string): string {
  const separated = separateOperations(document);
  const names = Object.keys(separated);
  const own = separated[operationName === '' && names.length === 1 ? (names[0] as string) : operationName];
  return own ? sha256(canonical(own)) : '';
}

/** Prints the operation and then its fragments by name, so that the text does not depend on order and white space. */
function canonical({ definitions }: DocumentNode): string {
  const rank = (definition: DefinitionNode): string =>
    definition.kind === Kind.FRAGMENT_DEFINITION ? definition.name.value : '';
  const sorted = definitions.toSorted((a, b) => rank(a).localeCompare(rank(b)));
  return print({ kind: Kind.DOCUMENT, definitions: sorted });
}

/** Loads the operations in `schema/operations/`, sorted by name. */
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

/** Prints the operations as an Apollo persisted query manifest, which client tools and routers can read. */
export const printManifest = (operations: readonly TrustedOperation[]): string =>
  `${JSON.stringify({ format: 'apollo-persisted-query-manifest', version: 1, operations }, null, 2)}\n`;
