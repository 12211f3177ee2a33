import type { FieldProblem } from '../errors.ts';
import type { Channel } from './channel.ts';
import type { Recipient } from './command.ts';

/** Local part and domain in plain ASCII or UTF-8, one `@`, and nothing that could start a second address or header. */
const EMAIL =
  /^[^\s@<>()[\],;:\\"\p{Cc}]{1,64}@(?:[\p{L}\p{N}](?:[\p{L}\p{N}-]{0,61}[\p{L}\p{N}])?\.)+[\p{L}\p{N}][\p{L}\p{N}-]{0,61}[\p{L}\p{N}]$/u;
const E164 = /^\+[1-9]\d{6,14}$/;
const TOKEN = /^[\x21-\x7e]{1,4096}$/;
// oxlint-disable-next-line no-control-regex -- control characters are what is refused
const USER_ID = /^[^\u0000-\u001f\u007f]{1,255}$/;

/** The parser drops line breaks and spaces around, so they are looked for first. */
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

/** A single address, read as its channel reads it. The value itself is never part of a message. */
export function recipientOf(channel: Channel, address: string): Recipient {
  return { [RULES[channel].field]: address };
}

/** Where a channel would send to; undefined when this person has no such address. */
export const addressFor = (channel: Channel, recipient: Recipient): string | undefined =>
  recipient[RULES[channel].field];

/** Checks every address that is there. `path` is where the recipient stands in the input. */
export function checkRecipient(recipient: Recipient, path: (field: string) => string): FieldProblem[] {
  const rules = new Map(Object.values(RULES).map((rule) => [rule.field, rule]));
  return [...rules.values()]
    .filter((rule) => {
      const value = recipient[rule.field];
      return value !== undefined && !rule.isValid(value);
    })
    .map((rule) => ({ path: path(rule.field), message: rule.expected }));
}
