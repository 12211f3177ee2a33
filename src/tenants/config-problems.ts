import { Ajv, type ErrorObject } from 'ajv';

import type { FieldProblem } from '../errors.ts';
import type { Config } from './config-secrets.ts';
import type { Limits } from './policies.ts';
import { fieldProblem } from './schema-problems.ts';
import { isSecretReference } from './secrets.ts';

/* What may be wrong with the configuration of a provider, named by field; no value is ever shown. */

const NAME = /^([A-Za-z0-9][A-Za-z0-9._-]{0,99})?$/;

// As providers read it, except for what they do not need to be told: see `provider-config.ts`.
const ajv = new Ajv({ allErrors: true, allowUnionTypes: true });

/** What stands beside the settings of a provider. */
interface Surroundings {
  name: string;
  position: number;
  limits: Limits | null;
}

/** What is wrong beside the settings. */
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
    problems.push({ path: 'input.ratePerSecond', message: 'must be more than 0, and 1 000 000 at most' });
  }
  if (burst < 1 || burst > 1_000_000) {
    problems.push({ path: 'input.burst', message: 'must be from 1 to 1 000 000' });
  }
  return problems;
}

/** Where the settings are not what their JSON Schema says. */
export function mismatches(schema: Record<string, unknown>, config: Config): FieldProblem[] {
  const validate = ajv.compile(schema);
  if (validate(config)) return [];
  return (validate.errors ?? [])
    .filter((error) => !isReference(config, error))
    .map((error) => fieldProblem(error, 'input.config'));
}

/** What is behind a name is looked at when it is used. */
function isReference(config: Config, { instancePath }: ErrorObject): boolean {
  let value: unknown = config;
  for (const part of instancePath.split('/').slice(1)) {
    value = typeof value === 'object' && value !== null ? (value as Config)[part] : undefined;
  }
  return isSecretReference(value);
}
