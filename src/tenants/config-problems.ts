import { Ajv, type ErrorObject } from 'ajv';

import type { FieldProblem } from '../errors.ts';
import type { Config } from './config-secrets.ts';
import type { Limits } from './policies.ts';
import { fieldProblem } from './schema-problems.ts';
import { isSecretReference } from './secrets.ts';

/* Validates the configuration of a provider. Problems contain the names of fields but no values. */

const NAME = /^([A-Za-z0-9][A-Za-z0-9._-]{0,99})?$/;

// Same rules as in `provider-config.ts`, but without type coercion.
const ajv = new Ajv({ allErrors: true, allowUnionTypes: true });

/** The parts of a configuration besides `config`. */
interface Surroundings {
  name: string;
  position: number;
  limits: Limits | null;
}

/** Validates name, position and limits. */
export function outOfBounds({ name, position, limits }: Surroundings): FieldProblem[] {
  const { concurrency = 1, ratePerSecond = 1, burst = 1 } = limits ?? {};
  const problems: FieldProblem[] = [];
  if (!NAME.test(name))
    problems.push({ path: 'input.name', message: 'must be letters, digits, dots, dashes or underscores' });
  if (position < 0 || position > 100) problems.push({ path: 'input.position', message: 'must be from 0 to 100' });
  if (concurrency < 1 || concurrency > 10_000) {
    problems.push({ path: 'input.concurrency', message: 'must be from 1 to 10 000' });
  }
  if (!(ratePerSecond > 0) || ratePerSecond > 1_000_000) {
    problems.push({ path: 'input.ratePerSecond', message: 'must be greater than 0 and at most 1 000 000' });
  }
  if (burst < 1 || burst > 1_000_000) {
    problems.push({ path: 'input.burst', message: 'must be from 1 to 1 000 000' });
  }
  return problems;
}

/** Validates `config` against its JSON Schema. */
export function mismatches(schema: Record<string, unknown>, config: Config): FieldProblem[] {
  const validate = ajv.compile(schema);
  if (validate(config)) return [];
  return (validate.errors ?? [])
    .filter((error) => !isReference(config, error))
    .map((error) => fieldProblem(error, 'input.config'));
}

/** Returns true for a `secret://` reference. Its value is validated when it is used. */
function isReference(config: Config, { instancePath }: ErrorObject): boolean {
  let value: unknown = config;
  for (const part of instancePath.split('/').slice(1)) {
    value = typeof value === 'object' && value !== null ? (value as Config)[part] : undefined;
  }
  return isSecretReference(value);
}
