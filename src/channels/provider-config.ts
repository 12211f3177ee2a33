import { Ajv, type ValidateFunction } from 'ajv';
import { LRUCache } from 'lru-cache';

import { type ReadSecret, resolveSecrets, SecretUnavailable } from '../tenants/secrets.ts';
import type { SendFailure } from './send-result.ts';

/** How long a resolved configuration is used: a secret that was rotated is in force after that. Milliseconds. */
const FRESH_MS = 30_000;
const MAX_CONFIGS = 5_000;

export interface ConfigReader<Config> {
  /** The configuration with its secrets put in; or why it cannot be used, naming the field and never the value. */
  read(raw: Record<string, unknown>): Promise<Config | SendFailure>;
}

const ajv = new Ajv({ allErrors: true, coerceTypes: true, allowUnionTypes: true });

/**
 * Reads a provider's configuration: secrets put in, checked against its schema once and then kept for a while.
 *
 * @param prepare turns other ways of writing it into the one of the schema.
 */
export function configReader<Config extends object>(
  provider: string,
  schema: Record<string, unknown>,
  readSecret: ReadSecret,
  prepare: (config: Record<string, unknown>) => Record<string, unknown> = (config) => config,
): ConfigReader<Config> {
  const validate = ajv.compile(schema) as ValidateFunction<Config>;
  // By identity: settings are cached, so the same configuration is the same object, until somebody changes it.
  const cache = new LRUCache<Record<string, unknown>, Config>({ max: MAX_CONFIGS, ttl: FRESH_MS });
  return {
    read: async (raw) => {
      const known = cache.get(raw);
      if (known) return known;
      try {
        const config = prepare(await resolveSecrets(raw, readSecret));
        if (!validate(config)) throw new ConfigInvalid(problemsOf(provider, validate));
        cache.set(raw, config);
        return config;
      } catch (error) {
        if (error instanceof SecretUnavailable || error instanceof ConfigInvalid) return misconfigured(error.message);
        throw error;
      }
    },
  };
}

/** The configuration itself is wrong. Its message names fields and shows no value. */
export class ConfigInvalid extends Error {}

export const misconfigured = (errorMessage: string): SendFailure => ({
  outcome: 'permanent',
  blames: 'provider',
  errorCode: 'channel_misconfigured',
  errorMessage,
});

function problemsOf(provider: string, { errors }: ValidateFunction): string {
  const problems = (errors ?? []).map(({ instancePath, message, params }) => {
    const unknown = (params as { additionalProperty?: string }).additionalProperty;
    const what = unknown === undefined ? (message ?? 'is wrong') : `must not have "${unknown}"`;
    return `${instancePath.slice(1).replaceAll('/', '.')} ${what}`.trim();
  });
  return `${provider} settings: ${problems.join('; ')}`;
}
