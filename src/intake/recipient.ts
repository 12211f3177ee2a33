import type { FieldProblem } from '../errors.ts';
import type { Channel } from './channel.ts';
import type { Recipient } from './command.ts';

/** Local part and domain in ASCII or UTF-8 with one `@`, without characters that start a second address or a header. */
const EMAIL =
  /^[^\s@<>()[\],;:\\"\p{Cc}]{1,64}@(?:[\p{L}\p{N}](?:[\p{L}\p{N}-]{0,61}[\p{L}\p{N}])?\.)+[\p{L}\p{N}][\p{L}\p{N}-]{0,61}[\p{L}\p{N}]$/u;
const E164 = /^\+[1-9]\d{6,14}$/;
const TOKEN = /^[\x21-\x7e]{1,4096}$/;
// oxlint-disable-next-line no-control-regex -- matches control characters in order to refuse them
const USER_ID = /^[^\u0000-\u001f\u007f]{1,255}$/;

/** The parser drops line breaks and surrounding spaces, so they are checked before it runs. */
const isHttpsUrl = (value: string): boolean =>
  value.length <= 2048 && /^https:\/\/[^\s\p{Cc}]+$/iu.test(value) && URL.canParse(value);

interface AddressRule {
  field: Exclude<keyof Recipient, 'locale'>;
  isValid: (value: string) => boolean;
  expected: string;
}

const email: AddressRule = {
  field: 'email',
  isValid: (value) => value.length <= 254 && EMAIL.test(value) && !value.split('@')[0]?.match(/^\.|\.\.|\.$/),
  expected: 'must be one email address',
};
const phone: AddressRule = {
  field: 'phone',
  isValid: (value) => E164.test(value),
  expected: 'must be a phone number in E.164 form, e.g. +84912345678',
};
const deviceToken: AddressRule = {
  field: 'device_token',
  isValid: (value) => TOKEN.test(value),
  expected: 'must be a device token',
};
const webhookUrl: AddressRule = { field: 'webhook_url', isValid: isHttpsUrl, expected: 'must be an https URL' };
const userId: AddressRule = {
  field: 'user_id',
  isValid: (value) => USER_ID.test(value),
  expected: 'must be a user id of 1 to 255 characters',
};

const RULES: Record<Channel, AddressRule> = {
  email,
  sms: phone,
  zalo: phone,
  push: deviceToken,
  webhook: webhookUrl,
  in_app: userId,
};

/** Checks one address by the rules of its channel. Messages never contain the value. */
export function recipientOf(channel: Channel, address: string): Recipient {
  return { [RULES[channel].field]: address };
}

/** Returns the address that a channel uses; undefined when the person has none. */
export const addressFor = (channel: Channel, recipient: Recipient): string | undefined =>
  recipient[RULES[channel].field];

/** Checks all given addresses. `path` returns the path of a field in the input. */
export function checkRecipient(recipient: Recipient, path: (field: string) => string): FieldProblem[] {
  const rules = new Map(Object.values(RULES).map((rule) => [rule.field, rule]));
  return [...rules.values()]
    .filter((rule) => {
      const value = recipient[rule.field];
      return value !== undefined && !rule.isValid(value);
    })
    .map((rule) => ({ path: path(rule.field), message: rule.expected }));
}
