import type { Recipient } from '../intake/command.ts';
import type { Channel } from '../intake/channel.ts';
import { maskAddress } from '../intake/mask.ts';
import type { Keyring, Sealed } from '../keyring.ts';
import { addressHash } from '../preferences/suppressions.ts';
import type { RecipientsAtRest } from './policy.ts';

/** A recipient as a delivery record that is at its end may hold it. */
export type StoredRecipient = Recipient & {
  sealed?: Sealed;
  /** By which the addresses that are sealed can be found. */
  hashes?: string[];
};

type AddressField = 'email' | 'phone' | 'device_token' | 'webhook_url';

/** Each address with a channel that uses it: addresses are hashed by channel. */
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

/** What the addresses of a person are known by where they are not kept. */
export const hashesOf = (tenantId: string, recipient: Recipient): string[] =>
  addressesIn(recipient).map(([field, address]) => addressHash(tenantId, ADDRESS_CHANNELS[field], address));

/**
 * A recipient in the form in which it is kept.
 *
 * @returns undefined where that is the form that it has.
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
  // Without a key nothing is kept that only a key would have protected.
  if (form === 'masked' || (form === 'encrypted' && keyring.currentKey === undefined)) {
    return { ...rest, ...Object.fromEntries(addresses.map(([field, address]) => [field, maskAddress(address)])) };
  }
  const hashes = hashesOf(tenantId, recipient);
  if (form === 'hashed') {
    return { ...rest, ...Object.fromEntries(addresses.map(([field], index) => [field, `sha256:${hashes[index]}`])) };
  }
  return { ...rest, sealed: keyring.seal(JSON.stringify(Object.fromEntries(addresses)), tenantId), hashes };
}

/** The recipient with what can be opened of it. */
export function openRecipient(tenantId: string, stored: StoredRecipient, keyring: Keyring): Recipient {
  const { sealed, hashes: _hashes, ...recipient } = stored;
  if (!sealed) return recipient;
  try {
    return { ...recipient, ...(JSON.parse(keyring.open(sealed, tenantId)) as Recipient) };
  } catch {
    // Its key was taken away: for us the address is not there any more.
    return recipient;
  }
}
