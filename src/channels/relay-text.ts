import { domainToASCII } from 'node:url';

/** Maximum part of a reply that is read, in UTF-16 units. Bounds the work for a hostile relay. */
const MAX_INPUT = 4_000;
/** Maximum length of the cleaned text, in characters. */
const MAX_LENGTH = 300;
const REMOVED = '[address]';

/** Characters that stand for `@`: itself, its full-width and small forms, and its encodings in URLs, HTML and QP. */
const AT = '(?:[@\\uFF20\\uFE6B]|%(?:25)*40|=40|&#(?:0*64|x0*40);|&commat;|[([{]\\s?at\\s?[)\\]}])';

const PREFIX = /^\d{3}(?:[ -]|$)(?:[245]\.\d{1,3}\.\d{1,3}\b[ :-]*)?/;
/** C0, C1, bidirectional and other invisible characters, and halves of surrogate pairs, which PostgreSQL refuses. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]+/gu;
/** A URL keeps its host and path. Its user name, query and fragment may contain an address in any encoding. */
const URL_TAIL = /\b([a-z][a-z0-9+.-]{1,20}:\/\/)(?:[^\s/?#<>"]{0,300}@)?([^\s?#<>"]*)[?#][^\s<>"]*/gi;
const ADDRESSES: readonly RegExp[] = [
  /\bmailto:[^\s<>"]*/gi,
  new RegExp(`<[^<>]{0,320}${AT}[^<>]{0,320}>`, 'giu'),
  new RegExp(`"(?:[^"\\\\]|\\\\.){0,320}"\\s?${AT}\\s?[^\\s<>"]{1,320}`, 'giu'),
  new RegExp(`[^\\s<>",;()]{0,320}\\s?${AT}\\s?[^\\s<>",;]{0,320}`, 'giu'),
  // An X.500 address of Exchange.
  /\/o=[^\s<>"]*/gi,
];

/**
 * Returns the text of an SMTP reply without its codes, on one line, without addresses and at most 300 characters long.
 *
 * @param response the reply; its lines may have codes.
 * @param addresses of this mail. They are removed in every form, their local parts also without a domain.
 */
export function cleanRelayText(response: string, addresses: readonly string[]): string {
  const lines = response.slice(0, MAX_INPUT).split(/[\r\n]+/);
  let text = lines
    .map((line) => line.trim().replace(PREFIX, ''))
    .join(' ')
    .normalize('NFKC')
    .replace(INVISIBLE, ' ')
    .replace(URL_TAIL, '$1$2');
  for (const form of addresses.flatMap(formsOf)) text = withoutWord(text, form);
  for (const pattern of ADDRESSES) text = text.replace(pattern, REMOVED);
  text = text.replaceAll(`<${REMOVED}>`, REMOVED);
  const characters = [...text.replace(/\s+/g, ' ').trim()];
  return characters.length > MAX_LENGTH ? `${characters.slice(0, MAX_LENGTH - 1).join('')}…` : characters.join('');
}

/** Words of many replies. A local part that is one of them does not identify anybody. */
const COMMON = /^(?:user|users|mailbox|mail|email|recipient|address|account|sender|unknown|info|admin|support|test)$/i;

/** Returns the forms in which a relay may repeat an address without an `@`, the longest first. */
function formsOf(address: string): string[] {
  const at = address.lastIndexOf('@');
  const local = address.slice(0, at);
  const domain = address.slice(at + 1);
  const ascii = domainToASCII(domain) || domain;
  const whole = [address, `${local}@${ascii}`];
  const encoded = whole.flatMap((one) => [
    one,
    encodeURIComponent(one),
    one.replace('@', '='),
    Buffer.from(one).toString('base64').replace(/=+$/, ''),
    Buffer.from(one).toString('base64url'),
    Buffer.from(one).toString('hex'),
  ]);
  return [...encoded, ...(local.length > 2 && !COMMON.test(local) ? [local] : [])].map((form) =>
    form.normalize('NFKC'),
  );
}

/** Removes a string where it is not a part of a longer word. Does not depend on case. */
function withoutWord(text: string, word: string): string {
  if (word === '') return text;
  return text.replace(
    new RegExp(`(?<![\\p{L}\\p{N}])${word.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')}=*(?![\\p{L}\\p{N}])`, 'giu'),
    REMOVED,
  );
}
