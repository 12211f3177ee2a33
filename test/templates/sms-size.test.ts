import fc from 'fast-check';
import { expect, it } from 'vitest';

import { smsSize } from '../../src/templates/sms-size.ts';

it.each([
  ['', 'gsm_7', 0, 0],
  ['Hello @£$¥ Ω\n', 'gsm_7', 13, 1],
  ['a'.repeat(160), 'gsm_7', 160, 1],
  ['a'.repeat(161), 'gsm_7', 161, 2],
  ['a'.repeat(306), 'gsm_7', 306, 2],
  ['a'.repeat(307), 'gsm_7', 307, 3],
  ['[€]', 'gsm_7', 6, 1],
  ['€'.repeat(80), 'gsm_7', 160, 1],
  // 76 pairs fill a segment, because the escape and its character stay together.
  ['€'.repeat(153), 'gsm_7', 306, 3],
  ['`', 'ucs_2', 1, 1],
  ['ç', 'ucs_2', 1, 1],
  ['Ç', 'gsm_7', 1, 1],
  ['Chào bạn', 'ucs_2', 8, 1],
  ['đ'.repeat(70), 'ucs_2', 70, 1],
  ['đ'.repeat(71), 'ucs_2', 71, 2],
  ['đ'.repeat(134), 'ucs_2', 134, 2],
  ['đ'.repeat(135), 'ucs_2', 135, 3],
  ['😀', 'ucs_2', 2, 1],
  ['😀'.repeat(35), 'ucs_2', 70, 1],
  // 33 emoji fill a segment of 67 units, because a surrogate pair stays together.
  ['😀'.repeat(67), 'ucs_2', 134, 3],
  ['“quoted”', 'ucs_2', 8, 1],
  ['tab\t', 'ucs_2', 4, 1],
])('%j is %s with %i characters in %i segments', (text, encoding, characters, segments) => {
  expect(smsSize(text)).toEqual({ encoding, characters, segments });
});

it('never has fewer segments for a longer text', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 400 }), fc.string({ maxLength: 100 }), (text, more) => {
      const { segments, characters } = smsSize(text + more);
      expect(segments).toBeGreaterThanOrEqual(smsSize(text).segments);
      expect(characters).toBeGreaterThanOrEqual([...text, ...more].length);
    }),
  );
});
