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

/** Subject of an unsubscribe link. It names a delivery instead of a person, so the link reveals no address. */
export interface UnsubscribeSubject {
  tenantId: string;
  logId: string;
  channel: Channel;
  category: string;
}

export interface UnsubscribeLinks {
  /** URL that unsubscribes on a single POST request (RFC 8058). */
  linkFor(subject: UnsubscribeSubject): string;
  /** Returns the subject of a token; undefined when its signature is not valid. */
  read(token: string): UnsubscribeSubject | undefined;
}

export interface UnsubscribeLinksOptions {
  /** Public base URL of the service. */
  publicUrl: string;
  /** Key that signs tokens; the same in every instance. */
  key: string;
}

/** Creates and reads links that work without a login. Each contains a signed token, so links cannot be forged. */
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
      // Compares the text of the signature, because several base64url spellings decode to the same bytes.
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

/** SQL, because it reads only two columns of a wide record. */
const SELECT_LOG = 'select recipient, trace_id as "traceId" from notification_log where tenant_id = $1 and id = $2';

/**
 * Unsubscribes the recipient of a delivery from a category: through the person's preference if the event named a user,
 * otherwise by suppressing the address. A repeated call changes nothing.
 *
 * @returns false when the delivery record no longer exists.
 */
export function unsubscribe(database: Database, subject: UnsubscribeSubject): Promise<boolean> {
  const { tenantId, logId, channel, category } = subject;
  return database.asTenant(tenantId, async (tx) => {
    const [log] = await tx.query<{ recipient: Recipient; traceId: string }>(SELECT_LOG, [tenantId, logId]);
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

/** Reads the signing key and creates the links; undefined when `PUBLIC_URL` is not set. */
export async function loadUnsubscribeLinks({
  publicUrl,
  linkSecret,
  secretsPath,
}: Pick<Config, 'publicUrl' | 'linkSecret' | 'secretsPath'>): Promise<UnsubscribeLinks | undefined> {
  if (publicUrl === undefined || linkSecret === undefined) return undefined;
  const key = isSecretReference(linkSecret) ? await secretReader(secretsPath)(linkSecret) : linkSecret;
  return unsubscribeLinks({ publicUrl, key });
}
