import type { Database, Transaction } from '../database/database.ts';
import { validationFailed } from '../errors.ts';
import type { Owner } from '../inbox/owner.ts';
import { type Channel, CHANNELS } from '../intake/channel.ts';
import type { CategoryPolicy } from './category.ts';
import { NotificationPreferenceEntity, RecipientProfileEntity } from './preference.entity.ts';
import { isTimeZone } from './time-zone.ts';

/** The preference that applies to one person, category and channel: the person's choice, else the default. */
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
  /** Time zone of the person, for quiet hours; an IANA name. Null removes it, undefined keeps it. */
  timeZone?: string | null | undefined;
}

export interface Preferences {
  /** Returns one preference for each category of the tenant and each channel that people can choose for it. */
  list(owner: Owner): Promise<Preference[]>;
  /** @throws `validation_failed` when the category or channel does not exist or is mandatory. */
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
        database.asTenant(owner.tenantId, ({ em }) =>
          em.find(NotificationPreferenceEntity, { tenantId: owner.tenantId, userId: owner.userId }),
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
      if (policy.channels?.includes(channel) === false)
        throw refuse('channel', 'is not a channel on which users can choose this category');
      if (policy.isMandatory && !isEnabled)
        throw refuse('isEnabled', 'must be true, because the category is mandatory');
      if (timeZone && !isTimeZone(timeZone)) throw refuse('timeZone', 'must be an IANA time zone');
      await database.asTenant(owner.tenantId, async (tx) => {
        await savePreference(tx, owner, category, channel, isEnabled);
        if (timeZone === undefined) return;
        const { tenantId, userId } = owner;
        await tx.em.upsert(RecipientProfileEntity, { tenantId, userId, timeZone, updatedAt: new Date() });
      });
      return preferenceOf(category, channel, policy, isEnabled);
    },
  };
}

/**
 * Stores a person's choice, made by the signed-in person or through an unsubscribe link.
 * @returns whether it differs from the stored choice.
 */
export async function savePreference(
  tx: Transaction,
  { tenantId, userId }: Owner,
  category: string,
  channel: Channel,
  isEnabled: boolean,
): Promise<boolean> {
  const changed = await tx.em
    .createQueryBuilder(NotificationPreferenceEntity)
    .insert({ tenantId, userId, category, channel, isEnabled, updatedAt: new Date() })
    .onConflict(['tenantId', 'userId', 'category', 'channel'])
    .merge(['isEnabled', 'updatedAt'])
    // Two requests with the same choice change one row once, so that only one of them is audited.
    .where({ isEnabled: !isEnabled })
    .returning(['channel'])
    .execute('all');
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
