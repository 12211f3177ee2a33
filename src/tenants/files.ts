import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { parse } from 'yaml';

import { LOCALE_PATTERN } from '../templates/locale.ts';
import { validationFailed } from '../errors.ts';
import { CHANNELS, type Channel } from '../intake/channel.ts';
import type { Log } from '../log.ts';
import { createPolicyAjv, type Limits, limitsSchema, policySchemas, type TenantPolicies } from './policies.ts';
import { fieldProblem } from './schema-problems.ts';

/** A provider configuration in a tenant file. */
export interface ProviderEntry {
  provider: string;
  /** Distinguishes several configurations of one provider. Default: `smtp`, `smtp-2` and so on. */
  name?: string;
  config: Record<string, unknown>;
  limits?: Limits;
}

/** Content of a tenant file. A channel has one provider, or several in failover order. */
export interface TenantFile extends TenantPolicies {
  defaultLocale?: string;
  channels?: Partial<Record<Channel, ProviderEntry | ProviderEntry[]>>;
}

/** Settings that operators mount as one file per tenant. */
export interface TenantFiles {
  /**
   * Returns the tenant's file; undefined when there is none. An invalid file does not replace the last valid version.
   */
  read(tenantId: string): Promise<TenantFile | undefined>;
}

const providerEntry = {
  type: 'object',
  required: ['provider', 'config'],
  additionalProperties: false,
  properties: {
    provider: { type: 'string', minLength: 1 },
    name: { type: 'string', pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$' },
    config: { type: 'object' },
    limits: limitsSchema,
  },
};

const validate = createPolicyAjv().compile<TenantFile>({
  type: 'object',
  additionalProperties: false,
  properties: {
    ...policySchemas,
    defaultLocale: { type: 'string', pattern: LOCALE_PATTERN },
    channels: {
      type: 'object',
      propertyNames: { enum: [...CHANNELS] },
      additionalProperties: {
        if: { type: 'array' },
        // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema
        then: { type: 'array', items: providerEntry, minItems: 1, maxItems: 10 },
        else: providerEntry,
      },
    },
  },
});

export const noTenantFiles: TenantFiles = { read: async () => undefined };

/** Reads `<tenant_id>.yaml`, `.yml` or `.json` from a folder. */
export function tenantFiles(folder: string, log: Log, onInvalid: () => void = () => {}): TenantFiles {
  const lastGood = new Map<string, TenantFile>();
  return {
    read: async (tenantId) => {
      // Event schemas forbid path separators in tenant ids, but a token may contain any text.
      if (!/^[A-Za-z0-9][A-Za-z0-9._:-]*$/.test(tenantId)) return undefined;
      try {
        const text = await firstReadable(['yaml', 'yml', 'json'].map((type) => join(folder, `${tenantId}.${type}`)));
        if (text === undefined) {
          lastGood.delete(tenantId);
          return undefined;
        }
        const settings: unknown = parse(text);
        if (!validate(settings))
          throw validationFailed((validate.errors ?? []).map((error) => fieldProblem(error, 'file')));
        lastGood.set(tenantId, settings);
        return settings;
      } catch (error) {
        onInvalid();
        log.error(
          { error, tenant_id: tenantId },
          'invalid tenant configuration file; the last valid version stays in use',
        );
        return lastGood.get(tenantId);
      }
    },
  };
}

async function firstReadable(paths: string[]): Promise<string | undefined> {
  for (const path of paths) {
    try {
      return await readFile(path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  return undefined;
}
