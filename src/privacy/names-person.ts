import type { Recipient } from '../intake/command.ts';

/** Ids and addresses that name a person. */
export interface PersonNames {
  userId: string | null;
  addresses: Recipient;
}

/**
 * Returns a function that tells whether an event names the person.
 *
 * In JSON, a whole string value must be the user id or an address. An address may also be part of a longer text, because
 * no other word looks like it. In bytes that are not JSON, the user id may be part of the text, too. A name in a text
 * counts only if no character around it can belong to a longer name: `1` is not in `user-1`.
 */
export function createPersonMatcher({ userId, addresses }: PersonNames): (raw: Buffer) => boolean {
  const { email, locale: _locale, ...others } = addresses;
  const exact = [...Object.values(others), ...(userId === null ? [] : [userId])];
  const isInText = (text: string, includesUserId: boolean): boolean =>
    (email !== undefined && contains(text.toLowerCase(), email.toLowerCase())) ||
    exact.some((name) => (includesUserId || name !== userId) && contains(text, name));

  const isNamedIn = (document: unknown): boolean => {
    // A stack instead of recursion, because the depth of an event is not limited.
    const open = [document];
    while (open.length > 0) {
      const value = open.pop();
      if (typeof value === 'string') {
        if (exact.includes(value) || isInText(value, false)) return true;
        // A document can be embedded as a string.
        if (/^\s*[[{"]/.test(value)) open.push(parse(value));
      } else if (typeof value === 'object' && value !== null) {
        for (const part of Object.values(value)) open.push(part);
      }
    }
    return false;
  };

  return (raw) => {
    const text = raw.toString('utf8');
    const document = parse(text);
    return document === undefined ? isInText(text, true) || isInText(unescape(text), true) : isNamedIn(document);
  };
}

/** Returns the longest part of each name that has the same bytes in every encoding and case, in lower case. */
export const searchableParts = ({ userId, addresses }: PersonNames): string[] => {
  const { locale: _locale, ...rest } = addresses;
  return [userId, ...Object.values(rest)]
    .filter((name) => name !== null)
    .map((name) => {
      const parts = name.toLowerCase().match(/[\x20-\x7e]+/g) ?? [];
      return parts.reduce((longest, part) => (part.length > longest.length ? part : longest), '');
    });
};

/** @returns undefined when the text is not JSON. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Replaces the escape sequences of a JSON document that is cut off or invalid. */
const unescape = (text: string): string =>
  text.replaceAll(/\\(?:u([\da-f]{4})|(.))/gis, (_match, code: string | undefined, character: string) =>
    code === undefined
      ? 'bfnrt'.includes(character)
        ? ' '
        : character
      : String.fromCharCode(Number.parseInt(code, 16)),
  );

const isBefore = /[\p{L}\p{N}_.+%@-]$/u;
const isAfter = /^(?:[\p{L}\p{N}_@-]|[.+%][\p{L}\p{N}])/u;

/** Returns whether the text contains the name, not as a part of a longer name. */
function contains(text: string, name: string): boolean {
  for (let at = text.indexOf(name); at !== -1; at = text.indexOf(name, at + 1)) {
    const end = at + name.length;
    // Two UTF-16 units hold any character.
    if (!isBefore.test(text.slice(Math.max(0, at - 2), at)) && !isAfter.test(text.slice(end, end + 3))) return true;
  }
  return false;
}
