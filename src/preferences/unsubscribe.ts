import { createHmac, timingSafeEqual } from 'node:crypto';

import { writeAudit } from '../audit/write.ts';
import type { Config } from '../config.ts';
import type { Database } from '../database/database.ts';
import { type Channel, CHANNELS } from '../intake/channel.ts';
import type { Recipient } from '../intake/command.ts';
import { addressFor } from '../intake/recipient.ts';
import { isSecretReference, secretReader } from '../tenants/secrets.ts';
import { savePreference } from './preferences.ts';
import { insertSuppressions } from './suppressions.ts';

/** What a link takes somebody off. Names a delivery and no person: who it is, the delivery record knows. */
export interface UnsubscribeSubject {
  tenantId: string;
  logId: string;
  channel: Channel;
  category: string;
}

export interface UnsubscribeLinks {
  /** Where one POST unsubscribes (RFC 8058). */
  linkFor(subject: UnsubscribeSubject): string;
  /** What a token was made for; undefined where it is not one of ours. */
  read(token: string): UnsubscribeSubject | undefined;
}

export interface UnsubscribeLinksOptions {
  /** Where the service is reached from outside. */
  publicUrl: string;
  /** Signs tokens; the same in every instance. */
  key: string;
}

/** Makes and reads links that need no login. A token can be used by whoever has the mail, and cannot be made up. */
export function unsubscribeLinks({ publicUrl, key }: UnsubscribeLinksOptions): UnsubscribeLinks {
  const sign = (payload: string): string =>
    createHmac('sha256', key).update(`unsubscribe.${payload}`).digest('base64url');
  return {
    linkFor: ({ tenantId, logId, channel, category }) => {
      const payload = Buffer.from(JSON.stringify([tenantId, logId, channel, category])).toString('base64url');
      return `${publicUrl.replace(/\/+$/, '')}/unsubscribe?token=${payload}.${sign(payload)}`;
    },
    read: (token) => {
      const [payload = '', signature = ''] = token.split('.');
      // As text: several spellings of one value would otherwise be one signature.
      const given = Buffer.from(signature);
      const expected = Buffer.from(sign(payload));
      if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined;
      const [tenantId, logId, channel, category] = JSON.parse(Buffer.from(payload, 'base64url').toString()) as [
        string,
        string,
        Channel,
        string,
      ];
      return CHANNELS.includes(channel) ? { tenantId, logId, channel, category } : undefined;
    },
  };
}

/**
 * Takes the recipient of a delivery off a category: as a decision of the person where the event named one, else by its
 * address. Doing it again changes nothing.
 *
 * @returns false where the delivery is not there any more.
 */
export function unsubscribe(database: Database, subject: UnsubscribeSubject): Promise<boolean> {
  const { tenantId, logId, channel, category } = subject;
  return database.asTenant(tenantId, async (tx) => {
    const [log] = await tx.query<{ recipient: Recipient; traceId: string }>(
      'select recipient, trace_id as "traceId" from notification_log where tenant_id = $1 and id = $2',
      [tenantId, logId],
    );
    if (!log) return false;
    const userId = log.recipient.user_id;
    const address = addressFor(channel, log.recipient);
    let isNew = false;
    if (userId !== undefined) isNew = await savePreference(tx, { tenantId, userId }, category, channel, false);
    else if (address !== undefined) {
      const entry = { tenantId, channel, address, category, sourceLogId: logId, createdBy: null };
      isNew = (await insertSuppressions(tx, [{ ...entry, reason: 'unsubscribed' }])) > 0;
    }
    if (!isNew) return true;
    await writeAudit(tx, {
      actor: { tenantId, userId: userId ?? 'unsubscribe-link' },
      traceId: log.traceId,
      action: 'notification.config.updated',
      details: { unsubscribed: { log_id: logId, channel, category } },
    });
    return true;
  });
}

/** Reads the key of the links; undefined where the service is not told its public address. */
export async function loadUnsubscribeLinks({
  publicUrl,
  linkSecret,
  secretsPath,
}: Pick<Config, 'publicUrl' | 'linkSecret' | 'secretsPath'>): Promise<UnsubscribeLinks | undefined> {
  if (publicUrl === undefined || linkSecret === undefined) return undefined;
  const key = isSecretReference(linkSecret) ? await secretReader(secretsPath)(linkSecret) : linkSecret;
  return unsubscribeLinks({ publicUrl, key });
}
