import type { Database, Transaction } from '../database/database.ts';
import { validationFailed } from '../errors.ts';
import type { Owner } from '../inbox/owner.ts';
import { type Channel, CHANNELS } from '../intake/channel.ts';
import type { CategoryPolicy } from './category.ts';

/** What holds for one person, category and channel. */
export interface Preference {
  category: string;
  name: string | null;
  description: string | null;
  channel: Channel;
  isEnabled: boolean;
  isMandatory: boolean;
}

export interface PreferenceChange {
  category: string;
  channel: Channel;
  isEnabled: boolean;
  /** The person's own time zone, for quiet hours; an IANA name. */
  timeZone?: string | null | undefined;
}

export interface Preferences {
  /** Every category of the tenant on every channel that people can decide about. */
  list(owner: Owner): Promise<Preference[]>;
  /** @throws `validation_failed` where there is nothing to decide. */
  update(owner: Owner, change: PreferenceChange): Promise<Preference>;
}

export interface PreferencesOptions {
  database: Database;
  categoriesOf: (tenantId: string) => Promise<Record<string, CategoryPolicy>>;
}

export function createPreferences({ database, categoriesOf }: PreferencesOptions): Preferences {
  return {
    list: async (owner) => {
      const [categories, decided] = await Promise.all([
        categoriesOf(owner.tenantId),
        database.asTenant(owner.tenantId, (tx) =>
          tx.query<{ category: string; channel: Channel; isEnabled: boolean }>(
            `select category, channel, is_enabled as "isEnabled" from notification_preference
             where tenant_id = $1 and user_id = $2`,
            [owner.tenantId, owner.userId],
          ),
        ),
      ]);
      const decisions = new Map(decided.map((row) => [`${row.channel} ${row.category}`, row.isEnabled]));
      return Object.entries(categories).flatMap(([category, policy]) =>
        (policy.channels ?? CHANNELS).map((channel) =>
          preferenceOf(category, channel, policy, decisions.get(`${channel} ${category}`)),
        ),
      );
    },
    update: async (owner, { category, channel, isEnabled, timeZone }) => {
      const policy = (await categoriesOf(owner.tenantId))[category];
      const refuse = (path: string, message: string) => validationFailed([{ path: `input.${path}`, message }]);
      if (!policy) throw refuse('category', 'is not a category of this tenant');
      if (policy.channels?.includes(channel) === false) throw refuse('channel', 'is not one that people decide about');
      if (policy.isMandatory && !isEnabled) throw refuse('isEnabled', 'this category is mandatory');
      if (timeZone && !isTimeZone(timeZone)) throw refuse('timeZone', 'must be an IANA time zone');
      await database.asTenant(owner.tenantId, async (tx) => {
        await savePreference(tx, owner, category, channel, isEnabled);
        if (timeZone === undefined) return;
        await tx.query(
          `insert into recipient_profile (tenant_id, user_id, time_zone) values ($1, $2, $3)
           on conflict (tenant_id, user_id) do update set time_zone = excluded.time_zone, updated_at = now()`,
          [owner.tenantId, owner.userId, timeZone],
        );
      });
      return preferenceOf(category, channel, policy, isEnabled);
    },
  };
}

/**
 * Records a decision, whoever brings it: the person signed in, or by an unsubscribe link.
 * @returns whether it is a new one.
 */
export async function savePreference(
  tx: Transaction,
  { tenantId, userId }: Owner,
  category: string,
  channel: Channel,
  isEnabled: boolean,
): Promise<boolean> {
  const changed = await tx.query(
    `insert into notification_preference as preference (tenant_id, user_id, category, channel, is_enabled)
     values ($1, $2, $3, $4, $5)
     on conflict (tenant_id, user_id, category, channel) do update
       set is_enabled = excluded.is_enabled, updated_at = now()
       where preference.is_enabled <> excluded.is_enabled
     returning channel`,
    [tenantId, userId, category, channel, isEnabled],
  );
  return changed.length > 0;
}

const preferenceOf = (
  category: string,
  channel: Channel,
  policy: CategoryPolicy,
  decided: boolean | undefined,
): Preference => ({
  category,
  name: policy.name ?? null,
  description: policy.description ?? null,
  channel,
  isEnabled: policy.isMandatory === true || (decided ?? policy.defaultEnabled ?? true),
  isMandatory: policy.isMandatory === true,
});

/** Whether a name is one of the IANA time zones. */
export function isTimeZone(value: string): boolean {
  try {
    return Intl.DateTimeFormat('en', { timeZone: value }) !== undefined;
  } catch {
    return false;
  }
}
