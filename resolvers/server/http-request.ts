import type { FastifyRequest } from 'fastify';

import { AppError, type FieldProblem, validationFailed } from '../../src/errors.ts';
import { parseExact } from '../../src/exact-json.ts';
import type { OperationRequest } from './operations.ts';

/**
 * Reads the operation from a GraphQL over HTTP request.
 *
 * @throws `validation_failed`, `unsupported_media_type`
 */
export function readRequest(request: FastifyRequest): OperationRequest {
  const given = request.method === 'GET' ? fromSearch(request) : fromBody(request);
  const problems = [
    problem(given, 'query', 'a string', (value) => typeof value === 'string'),
    problem(given, 'operationName', 'a string', (value) => typeof value === 'string'),
    problem(given, 'documentId', 'a string', (value) => typeof value === 'string'),
    problem(given, 'variables', 'an object', isObject),
    problem(given, 'extensions', 'an object', isObject),
  ].filter((found) => found !== undefined);
  if (problems.length > 0) throw validationFailed(problems);
  return given as OperationRequest;
}

type Given = Record<string, unknown>;

const isObject = (value: unknown): value is Given =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function problem(
  given: Given,
  path: string,
  expected: string,
  isValid: (value: unknown) => boolean,
): FieldProblem | undefined {
  const value = given[path] ?? undefined;
  return value === undefined || isValid(value) ? undefined : { path, message: `must be ${expected}` };
}

function fromSearch({ url }: FastifyRequest): Given {
  const search = new URL(url, 'http://localhost').searchParams;
  const given: Given = Object.fromEntries(search);
  for (const name of ['variables', 'extensions']) {
    const text = search.get(name);
    if (text) given[name] = parseJson(text, name);
  }
  return given;
}

function fromBody({ headers, body }: FastifyRequest): Given {
  if (!/^application\/(.+\+)?json\s*(;|$)/i.test(headers['content-type'] ?? '')) {
    throw new AppError('unsupported_media_type', 'The Content-Type must be application/json.');
  }
  const given = parseJson(typeof body === 'string' ? body : '', 'The request body');
  if (Array.isArray(given)) throw new AppError('validation_failed', 'Batched operations are not supported.');
  if (!isObject(given)) throw new AppError('validation_failed', 'The request body must be an object.');
  return given;
}

function parseJson(text: string, name: string): unknown {
  try {
    return parseExact(text);
  } catch {
    throw new AppError('validation_failed', `${name} is not valid JSON.`);
  }
}
