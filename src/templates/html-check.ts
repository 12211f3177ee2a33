import { Parser, QuoteType, Tokenizer } from 'htmlparser2';

import type { SyntaxProblem } from './scan.ts';

const words = (list: string): ReadonlySet<string> => new Set(list.split(' '));

const URL_ATTRIBUTES = words(
  'href src action formaction background cite poster xlink:href data longdesc usemap dynsrc lowsrc ping manifest ' +
    'profile codebase classid srcset imagesrcset',
);
/** Elements that run code, load other documents, or have special parsing rules in browsers and mail clients. */
const FORBIDDEN_TAGS = words(
  'script iframe frame frameset object embed applet form base link svg math xmp noembed noframes plaintext template portal ' +
    'mj-include mj-font mj-html-attributes',
);
/** Allowed values of `<meta http-equiv>`. */
const HARMLESS_META = words('content-type x-ua-compatible content-language');
const SAFE_SCHEME = /^(https?|mailto|tel|cid):/i;
const ANY_SCHEME = /^[a-z][a-z0-9+.-]*:/i;
/** Start of a URL whose scheme cannot be changed by the text after it. */
const SAFE_START = /^\s*((https?|mailto|tel|cid):|[#?]|\/)/i;
/** Browsers ignore these characters within a scheme. */
// oxlint-disable-next-line no-control-regex -- control characters are among the ignored characters
const IGNORED = /[\u0000-\u0020]/g;
const UNSAFE_STYLE = /expression\s*\(|(java|vb)script\s*:|-moz-binding|(?<![-\w])behaviou?r\s*:|@import/i;
/** Elements that contain text, not HTML. */
const TEXT_TAGS = words('title style textarea');
const MAX_PROBLEMS = 50;

/** Returns true for URLs of web pages, mail and telephone, and for relative URLs. */
export function isSafeUrl(url: string): boolean {
  const bare = url.replaceAll(IGNORED, '');
  return SAFE_SCHEME.test(bare) || !ANY_SCHEME.test(bare);
}

/** Rejects styles that run code in old mail clients, and unsafe URLs. */
function isSafeStyle(style: string): boolean {
  const plain = style
    .replaceAll(/\/\*[^]*?(\*\/|$)/g, '')
    .replaceAll(/\\([0-9a-f]{1,6})\s?|\\([^])/gi, (_all, code: string | undefined, other: string) =>
      code === undefined ? other : codePoint(Number.parseInt(code, 16)),
    );
  if (UNSAFE_STYLE.test(plain)) return false;
  return [...plain.matchAll(/url\(\s*["']?([^"')]*)/gi)].every(([, url]) => isSafeUrl(url as string));
}

const codePoint = (code: number): string => (code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : '');

function isSafeAttribute(name: string, value: string): boolean {
  if (name === 'style') return isSafeStyle(value);
  if (name.endsWith('srcset')) return value.split(',').every((candidate) => isSafeUrl(candidate));
  return isSafeUrl(value);
}

const isChecked = (name: string): boolean => name === 'style' || URL_ATTRIBUTES.has(name);

/** The text after the name in a closing tag. */
const CLOSING_END = /\s*>/y;

/** Placeholder of an expression and of the `{{#…}}`, `{{else}}` and `{{/…}}` of a block. */
const MARK = '\uE000';

/** HTML of a template in which expressions are replaced by marks. */
interface Skeleton {
  html: string;
  /** Keys are the indexes of the marks. Marks of one block have the same number. */
  marks: Map<number, { block: number | null }>;
  /** Converts an index of `html` to a position in the template. */
  placeOf: (index: number) => { line: number; column: number };
}

function skeletonOf(program: hbs.AST.Program): Skeleton {
  let html = '';
  let blocks = 0;
  const marks: Skeleton['marks'] = new Map();
  const pieces: { from: number; node: hbs.AST.Node }[] = [];
  const mark = (node: hbs.AST.Node, block: number | null): void => {
    marks.set(html.length, { block });
    pieces.push({ from: html.length, node });
    html += MARK;
  };
  const walk = ({ body }: hbs.AST.Program): void => {
    for (const node of body) {
      if (node.type === 'ContentStatement') {
        pieces.push({ from: html.length, node });
        html += (node as hbs.AST.ContentStatement).value.replaceAll(MARK, ' ');
      } else if (node.type === 'MustacheStatement' || node.type === 'PartialStatement') mark(node, null);
      else if (node.type === 'BlockStatement') {
        const { program: first, inverse } = node as hbs.AST.BlockStatement;
        const block = (blocks += 1);
        mark(node, block);
        walk(first);
        if (inverse) {
          mark(node, block);
          walk(inverse);
        }
        mark(node, block);
      }
    }
  };
  walk(program);
  return {
    html,
    marks,
    placeOf: (index) => {
      const piece = pieces.findLast(({ from }) => from <= index);
      const { line, column } = piece?.node.loc.start ?? { line: 1, column: 0 };
      if (!piece || piece.node.type !== 'ContentStatement') return { line, column: column + 1 };
      const { value, original = value } = piece.node as hbs.AST.ContentStatement & { original?: string };
      const past = original.slice(0, Math.max(original.indexOf(value), 0)) + html.slice(piece.from, index);
      const lines = past.split('\n');
      const last = (lines.at(-1) as string).length;
      return { line: line + lines.length - 1, column: (lines.length === 1 ? column : 0) + last + 1 };
    },
  };
}

export interface HtmlCheck {
  problems: SyntaxProblem[];
  /** True when URLs or styles contain variables, so that they have to be checked after rendering. */
  isDynamic: boolean;
}

/**
 * Checks the HTML of a template. Expressions may appear only in text and in quoted attributes, and a block must start
 * and end in the same text or attribute. Therefore the rendered page has exactly the tags and attributes that are
 * checked here, for all params.
 */
export function checkHtml(program: hbs.AST.Program): HtmlCheck {
  const { html, marks, placeOf } = skeletonOf(program);
  const problems: SyntaxProblem[] = [];
  const add = (index: number, message: string): void => {
    if (problems.length < MAX_PROBLEMS) problems.push({ message, ...placeOf(index) });
  };
  /** The attribute or text that contains each mark. A mark without an entry is in a tag or comment. */
  const places = new Map<number, { kind: string; id: number }>();
  let isDynamic = false;

  const note = (start: number, end: number, kind: string, id: number): void => {
    for (let index = html.indexOf(MARK, start); index !== -1 && index < end; index = html.indexOf(MARK, index + 1)) {
      places.set(index, { kind, id });
    }
  };

  const read = (text: string, offset: number, isForOutlook: boolean): void => {
    let tag = '';
    let tagStart = 0;
    let within = 'text';
    let name = '';
    let nameStart = 0;
    let value = '';
    let attributes = new Map<string, string>();
    let ranges: [number, number][] = [];
    const endTag = (): void => {
      if (tag === 'meta' && attributes.has('http-equiv')) {
        const kind = (attributes.get('http-equiv') as string).trim().toLowerCase();
        if (!HARMLESS_META.has(kind)) add(tagStart, '<meta http-equiv> of this kind is not allowed');
      }
    };
    const tokenizer = new Tokenizer(
      { decodeEntities: true },
      {
        onopentagname: (start, end) => {
          tag = text.slice(start, end).toLowerCase();
          tagStart = offset + start - 1;
          attributes = new Map();
          if (tag.includes(MARK)) add(offset + text.indexOf(MARK, start), 'expressions are not allowed in a tag');
          if (FORBIDDEN_TAGS.has(tag) || (tag === 'noscript' && !isForOutlook)) {
            add(tagStart, `<${tag}> is not allowed`);
          }
        },
        onopentagend: () => {
          endTag();
          if (TEXT_TAGS.has(tag)) within = tag;
        },
        onselfclosingtag: () => {
          endTag();
          if (TEXT_TAGS.has(tag)) add(tagStart, `<${tag}/> does not close itself`);
        },
        onclosetag: (start, end) => {
          within = 'text';
          CLOSING_END.lastIndex = end;
          if (!CLOSING_END.test(text)) add(offset + start, 'a closing tag may contain only its name');
        },
        onattribname: (start, end) => {
          name = text.slice(start, end).toLowerCase();
          nameStart = offset + start;
          value = '';
          ranges = [];
          if (name.startsWith('on')) add(tagStart, `the attribute ${name} is not allowed`);
          if (name === 'srcdoc') add(tagStart, 'the attribute srcdoc is not allowed');
        },
        onattribdata: (start, end) => {
          value += text.slice(start, end);
          ranges.push([offset + start, offset + end]);
        },
        onattribentity: (code) => {
          value += String.fromCodePoint(code);
        },
        onattribend: (quote) => {
          attributes.set(name, value);
          const isQuoted = quote === QuoteType.Single || quote === QuoteType.Double;
          for (const [start, end] of ranges) note(start, end, isQuoted ? 'attribute' : 'unquoted', nameStart);
          if (!isChecked(name)) return;
          if (!value.includes(MARK)) {
            if (!isSafeAttribute(name, value)) add(tagStart, unsafe(name));
          } else if (name === 'style' || name.endsWith('srcset') || !SAFE_START.test(value.split(MARK)[0] as string)) {
            isDynamic = true;
          }
        },
        ontext: (start, end) => {
          note(offset + start, offset + end, within, offset);
          if (within === 'style' && !isSafeStyle(text.slice(start, end))) add(offset + start, unsafe('style'));
        },
        ontextentity: () => {},
        oncomment: (start, end) => {
          const comment = text.slice(start, end).replace(/--$/, '');
          if (/^-?>|--!>/.test(comment)) add(offset + start, 'browsers do not agree on the end of this comment');
          const conditional = /^\s*\[if\b[^\]]*\]>/i.exec(comment);
          // Only Outlook reads the content of conditional comments.
          if (conditional && isForOutlook) add(offset + start, 'comments for Outlook cannot be nested');
          else if (conditional)
            read(comment.slice(conditional[0].length), offset + start + conditional[0].length, true);
        },
        oncdata: (start) => add(offset + start, 'CDATA is not allowed'),
        ondeclaration: (start, end) => {
          const declaration = text.slice(start, end);
          if (!/^!?doctype\b/i.test(declaration) && !/^!?\[(if\b|endif)/i.test(declaration) && declaration !== '!') {
            add(offset + start, 'this declaration is not allowed');
          }
        },
        onprocessinginstruction: (start) => add(offset + start, 'processing instructions are not allowed'),
        onend: () => {},
      },
    );
    tokenizer.write(text);
    tokenizer.end();
  };
  read(html, 0, false);

  const blocks = new Map<number, { kind: string; id: number }>();
  for (const [index, { block }] of marks) {
    const place = places.get(index) ?? { kind: 'none', id: index };
    const opened = block === null ? undefined : blocks.get(block);
    const isElsewhere = opened && (opened.kind !== place.kind || opened.id !== place.id);
    if (place.kind === 'unquoted') add(index, 'put quotes around an attribute that contains an expression');
    else if (place.kind === 'style') add(index, 'expressions are not allowed in <style>');
    else if (place.kind === 'none') {
      add(index, 'expressions are allowed in text and in quoted attributes only, not in tags or comments');
    } else if (isElsewhere) add(index, 'a block must start and end in the same text or the same attribute');
    else if (place.kind !== 'attribute' && /<[!/?]?-?$/.test(html.slice(Math.max(0, index - 3), index))) {
      add(index, 'write "<" before an expression as &lt;');
    }
    if (block !== null && !opened) blocks.set(block, place);
  }
  return { problems, isDynamic };
}

const unsafe = (name: string): string =>
  name === 'style'
    ? 'the style contains code or a URL that is not allowed'
    : `the URL in ${name} must start with https:, http:, mailto: or tel:`;

/** Returns the name of the first attribute with an unsafe URL or style. */
export function unsafeUrlIn(html: string): string | undefined {
  let found: string | undefined;
  const parser = new Parser({
    onattribute: (name, value) => {
      if (isChecked(name) && !isSafeAttribute(name, value)) found ??= name;
    },
  });
  parser.end(html);
  return found;
}
