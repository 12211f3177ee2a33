import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import formats from 'ajv-formats';

import type { FieldProblem } from '../../src/errors.ts';
import { roundNumbers } from '../../src/exact-json.ts';
import { checkStorable } from '../../src/intake/storable.ts';
import { projectRoot } from '../../src/project-root.ts';
import { parseDateTime } from '../../src/time.ts';
import { EventRefused } from './event.ts';

const ajv = new Ajv({ allErrors: true, strict: true, strictTypes: false, strictRequired: false, verbose: false });
formats.default(ajv);
// Only dates that JavaScript and the database accept. RFC 3339 also allows leap seconds, for example.
const dateTime = formats.default.get('date-time') as { validate: (value: string) => boolean };
ajv.addFormat('date-time', (value: string) => dateTime.validate(value) && parseDateTime(value) !== undefined);
ajv.addFormat('uuid', /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i);

/** Compiles the published JSON Schema of an event type. */
export function eventValidator<T>(type: string): (payload: unknown) => T {
  const file = join(projectRoot, 'schema', 'events', `${type}.schema.json`);
  const validate = ajv.compile(JSON.parse(readFileSync(file, 'utf8')) as object) as ValidateFunction;
  return (payload) => {
    const unstorable = checkStorable(payload);
    if (unstorable) throw new EventRefused('validation_failed', [unstorable]);
    // The schemas know JavaScript numbers only. The event keeps all digits of its own values.
    if (validate(roundNumbers(payload))) return payload as T;
    throw new EventRefused('validation_failed', (validate.errors ?? []).filter(isOwnProblem).map(toProblem));
  };
}

/** Converts a `date-time` that a schema has checked. */
export const checkedTime = (text: string): Date => parseDateTime(text) as Date;

/** Drops errors of `if`, because its branches report the actual problem. */
const isOwnProblem = (error: ErrorObject): boolean => error.keyword !== 'if';

function toProblem(error: ErrorObject): FieldProblem {
  const parent = error.instancePath.split('/').slice(1);
  const missing = (error.params as { missingProperty?: string }).missingProperty;
  const path = [...parent, ...(missing === undefined ? [] : [missing])].join('.');
  const allowed = (error.params as { allowedValues?: unknown[] }).allowedValues;
  const message = missing === undefined ? (error.message ?? 'is not valid') : 'is required';
  return { path: path || '(event)', message: allowed ? `${message}: ${allowed.join(', ')}` : message };
}
