/*
 * Values inside links. The context is read from the text that was rendered before the value, so that it is known for a
 * link that consists of several values and blocks.
 */

/** Length of the text before a value that is read, in characters. A link that is longer is not recognized as one. */
export const LINK_LENGTH = 2_048;

/** Text that no place in a link changes. */
const UNRESERVED = /^[\w.~-]*$/;
/** After these, a value stands in no link: the usual case, which needs no look at the text before. */
const OUTSIDE = /[\s>]$/;

/**
 * Returns whether a value may have to be encoded.
 *
 * @param last the last piece of the output before the value.
 */
export const mayBeInLink = (value: string, last: string): boolean =>
  last !== '' && !OUTSIDE.test(last.slice(-1)) && !UNRESERVED.test(value);

/** Percent-encodes everything except unreserved characters (RFC 3986). */
export const percentEncoded = (text: string): string =>
  encodeURIComponent(text.toWellFormed()).replaceAll(/[!'()*]/g, (character) => `%${hexOf(character)}`);

const hexOf = (character: string): string => character.charCodeAt(0).toString(16).toUpperCase();

/** Percent-encodes what is not allowed in a path, and so `?`, `#` and `%`, but no `/`. */
const pathEncoded = (text: string): string =>
  percentEncoded(text).replaceAll(/%(?:2F|3A|40|21|24|26|27|28|29|2A|2B|2C|3B|3D)/g, (code) =>
    decodeURIComponent(code),
  );

const LINK_ATTRIBUTE =
  /[\s"'/](?:href|src|action|formaction|background|cite|poster|longdesc|srcset|imagesrcset)\s*=\s*$/i;
const HTML_END = /[\s"'<>]/;
/** A link in a plain text, in Markdown or in a JSON string ends before these. */
const TEXT_END = /[\s"<>\\`|)]/;
/** Start of a link in a text. `Tel:` is a usual word there, so only web addresses count. */
const WEB_ADDRESS = /(?<![a-z0-9+.-])https?:\/\//i;
/** A link whose value is still the scheme or the host. */
const NO_PATH = /^(?:[a-z][a-z0-9+.-]*:)?(?:\/\/[^/?#]*)?$/i;
/** Numeric character references contain `#`, which starts no fragment. */
const REFERENCE = /&#(?:x[0-9a-f]+|\d+);?/gi;

/**
 * Encodes a value for its place in a link: all of it in a query or fragment, less in a path. A value that starts a link,
 * such as a whole URL, and a value outside of a link stay as they are.
 *
 * @param before the text before the value, at least its last {@link LINK_LENGTH} characters.
 */
export function encodedInLink(value: string, before: string, isHtml: boolean): string {
  const end = isHtml ? HTML_END : TEXT_END;
  let start = before.length;
  while (start > 0 && !end.test(before[start - 1] as string)) start -= 1;
  if (start === before.length) return value;
  const quote = isHtml ? before[start - 1] : undefined;
  const isAttribute = (quote === '"' || quote === "'") && LINK_ATTRIBUTE.test(before.slice(0, start - 1));
  const word = before.slice(start);
  const from = isAttribute ? 0 : word.search(WEB_ADDRESS);
  if (from === -1) return value;
  const plain = word.slice(from).replaceAll(REFERENCE, '');
  if (/[?#]/.test(plain)) return percentEncoded(value);
  return NO_PATH.test(plain) && !/^(?:mailto|tel|sms):/i.test(plain) ? value : pathEncoded(value);
}
