import type { Recipient } from '../intake/command.ts';
import type { Channel } from '../intake/channel.ts';
import { maskAddress } from '../intake/mask.ts';
import type { Keyring, Sealed } from '../keyring.ts';
import { addressHash } from '../preferences/suppressions.ts';
import type { RecipientsAtRest } from './policy.ts';

/** A recipient as a finished delivery record stores it. */
export type StoredRecipient = Recipient & {
  sealed?: Sealed;
  /** Hashes that find the encrypted addresses. */
  hashes?: string[];
};

type AddressField = 'email' | 'phone' | 'device_token' | 'webhook_url';

/** Address fields with a channel that uses them, because hashes depend on the channel. */
const ADDRESS_CHANNELS: Record<AddressField, Channel> = {
  email: 'email',
  phone: 'sms',
  device_token: 'push',
  webhook_url: 'webhook',
};

const addressesIn = (recipient: Recipient): [AddressField, string][] =>
  (Object.keys(ADDRESS_CHANNELS) as AddressField[]).flatMap((field) => {
    const address = recipient[field];
    return address === undefined ? [] : [[field, address] as [AddressField, string]];
  });

/** Returns the hashes of a person's addresses, which identify them where the addresses are not stored. */
export const hashesOf = (tenantId: string, recipient: Recipient): string[] =>
  addressesIn(recipient).map(([field, address]) => addressHash(tenantId, ADDRESS_CHANNELS[field], address));

/**
 * Returns a recipient in the form that the tenant's privacy policy stores.
 *
 * @returns undefined when it already has that form.
 */
export function recipientAtRest(
  tenantId: string,
  recipient: Recipient,
  form: RecipientsAtRest,
  keyring: Keyring,
): StoredRecipient | undefined {
  const addresses = addressesIn(recipient);
  if (form === 'plain' || addresses.length === 0) return undefined;
  const { user_id, locale } = recipient;
  const rest = { ...(user_id !== undefined && { user_id }), ...(locale !== undefined && { locale }) };
  // Without a key the addresses cannot be encrypted, so they are dropped.
  if (form === 'masked' || (form === 'encrypted' && keyring.currentKey === undefined)) {
    return { ...rest, ...Object.fromEntries(addresses.map(([field, address]) => [field, maskAddress(address)])) };
  }
  const hashes = hashesOf(tenantId, recipient);
  if (form === 'hashed') {
    return { ...rest, ...Object.fromEntries(addresses.map(([field], index) => [field, `sha256:${hashes[index]}`])) };
  }
  return { ...rest, sealed: keyring.seal(JSON.stringify(Object.fromEntries(addresses)), tenantId), hashes };
}

/** Returns the recipient with its decrypted addresses, as far as they can be decrypted. */
export function openRecipient(tenantId: string, stored: StoredRecipient, keyring: Keyring): Recipient {
  const { sealed, hashes: _hashes, ...recipient } = stored;
  if (!sealed) return recipient;
  try {
    return { ...recipient, ...(JSON.parse(keyring.open(sealed, tenantId)) as Recipient) };
  } catch {
    // The key was removed, so the address is lost.
    return recipient;
  }
}
