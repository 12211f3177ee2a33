import { Ajv, type ValidateFunction } from 'ajv';
import { LRUCache } from 'lru-cache';

import { type ReadSecret, resolveSecrets, SecretUnavailable } from '../tenants/secrets.ts';
import type { SendFailure } from './send-result.ts';

/**
 * Time for which a resolved configuration is cached, in milliseconds. A rotated secret takes effect within this time.
 */
const FRESH_MS = 30_000;
const MAX_CONFIGS = 5_000;

export interface ConfigReader<Config> {
  /**
   * Returns the configuration with its secrets resolved, or a failure that names the invalid field but not its value.
   */
  read(raw: Record<string, unknown>): Promise<Config | SendFailure>;
}

const ajv = new Ajv({ allErrors: true, coerceTypes: true, allowUnionTypes: true });

/**
 * Returns a reader that resolves secrets, validates the configuration against its schema and caches the result.
 *
 * @param prepare converts alternative forms of the configuration to the form of the schema.
 * @param contradiction returns what is wrong with a configuration that matches the schema.
 */
export function configReader<Config extends object>(
  provider: string,
  schema: Record<string, unknown>,
  readSecret: ReadSecret,
  prepare: (config: Record<string, unknown>) => Record<string, unknown> = (config) => config,
  contradiction: (config: Config) => string | undefined = () => undefined,
): ConfigReader<Config> {
  const validate = ajv.compile(schema) as ValidateFunction<Config>;
  // Keyed by object identity: settings are cached, so an unchanged configuration is the same object.
  const cache = new LRUCache<Record<string, unknown>, Config>({ max: MAX_CONFIGS, ttl: FRESH_MS });
  return {
    read: async (raw) => {
      const known = cache.get(raw);
      if (known) return known;
      try {
        const config = prepare(await resolveSecrets(raw, readSecret));
        if (!validate(config)) throw new ConfigInvalid(problemsOf(provider, validate));
        const problem = contradiction(config);
        if (problem !== undefined) throw new ConfigInvalid(`${provider} settings: ${problem}`);
        cache.set(raw, config);
        return config;
      } catch (error) {
        if (error instanceof SecretUnavailable || error instanceof ConfigInvalid) return misconfigured(error.message);
        throw error;
      }
    },
  };
}

/** The configuration is invalid. The message names fields but contains no values. */
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
    const problem = unknown === undefined ? (message ?? 'is invalid') : `must not have "${unknown}"`;
    return `${instancePath.slice(1).replaceAll('/', '.')} ${problem}`.trim();
  });
  return `${provider} settings: ${problems.join('; ')}`;
}
