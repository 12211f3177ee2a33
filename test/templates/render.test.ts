import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { newId } from '../../src/ids.ts';
import type { Channel } from '../../src/intake/channel.ts';
import { chooseLocale } from '../../src/templates/locale.ts';
import { renderTemplate, TemplateInvalid, TemplateVariableMissing } from '../../src/templates/render.ts';
import type { PublishedTemplate } from '../../src/templates/template.ts';

const template = (body: string, changes: Partial<PublishedTemplate> = {}): PublishedTemplate => ({
  templateId: newId(),
  version: 1,
  tenantId: 't',
  eventCode: 'e',
  channel: 'email',
  locale: 'vi',
  subject: null,
  body,
  text: null,
  defaultParams: {},
  ...changes,
});

const missingIn = (body: string, params: Record<string, unknown>): string => {
  try {
    renderTemplate(template(body), params);
  } catch (error) {
    if (error instanceof TemplateVariableMissing) return error.variable;
    throw error;
  }
  throw new Error('the template was rendered, although a variable is missing');
};

describe('rendering', () => {
  it('escapes params in HTML only', () => {
    const params = { name: '<b>"A" & Đ</b>' };
    expect(renderTemplate(template('<p>{{name}}</p>', { subject: '{{name}}' }), params)).toEqual({
      subject: '<b>"A" & Đ</b>',
      html: '<p>&lt;b&gt;&quot;A&quot; &amp; Đ&lt;/b&gt;</p>',
      text: '<b>"A" & Đ</b>',
    });
    expect(renderTemplate(template('<p>{{name}}', { channel: 'sms' }), params)).toEqual({
      subject: null,
      html: null,
      text: '<p><b>"A" & Đ</b>',
    });
    expect(renderTemplate(template('Hello {{name}}'), params)).toMatchObject({
      html: null,
      text: `Hello ${params.name}`,
    });
  });

  it('uses defaultParams for missing params', () => {
    const withDefaults = template('{{a}} {{b}}', { defaultParams: { a: 'default', b: 'default' } });
    expect(renderTemplate(withDefaults, { b: 'event' }).text).toBe('default event');
  });

  it('fails with the full path of a missing variable', () => {
    expect(missingIn('Dear {{full_name}}', {})).toBe('full_name');
    expect(missingIn('{{order.customer.name}}', { order: { customer: {} } })).toBe('order.customer.name');
    expect(missingIn('{{order.name}}', {})).toBe('order.name');
    expect(missingIn('one\n  {{#each items}}{{price}}{{/each}}', { items: [{}] })).toBe('price');
    expect(missingIn('{{upper order.name}}', {})).toBe('order.name');
    expect(missingIn('{{default a.b fallback}}', {})).toBe('fallback');
    expect(missingIn('{{#if (upper a)}}x{{/if}}', {})).toBe('a');
  });

  it('says where a missing variable can be added', () => {
    expect(() => renderTemplate(template('Dear {{full_name}}'), {})).toThrow(
      `The template needs the variable "full_name". Add it to the event's params or the template's defaultParams.`,
    );
  });

  it('allows missing variables in conditions, `default` and blocks with `else`', () => {
    const body = '{{#if order.paid}}x{{else}}-{{/if}}{{default a.b.c "y"}}{{#each a.list}}x{{else}}z{{/each}}';
    for (const params of [{}, { order: null, a: null }, { order: 1, a: { b: 'c', list: [] } }]) {
      expect(renderTemplate(template(body), params).text).toBe('-yz');
    }
  });

  it('replaces line breaks in a subject, so that params cannot add a header', () => {
    const rendered = renderTemplate(template('x', { subject: 'Hi {{name}}' }), { name: 'A\r\nBcc: evil@example.com' });
    expect(rendered.subject).toBe('Hi A Bcc: evil@example.com');
  });

  it('throws TemplateInvalid for a template with a syntax error', () => {
    expect(() => renderTemplate(template('{{#if a}}'), { a: 1 })).toThrow(TemplateInvalid);
    expect(() => renderTemplate(template('{{a'), { a: 1 })).toThrow(TemplateInvalid);
  });

  it('does not reach prototypes', () => {
    for (const body of ['{{constructor}}', '{{__proto__}}', '{{a.constructor.name}}', '{{toString}}']) {
      const outcome = fcOutcome(() => renderTemplate(template(body), { a: 'x' }).text);
      expect(outcome, body).not.toMatch(/function|Object|\[native/);
    }
  });

  it('is deterministic', () => {
    fc.assert(
      fc.property(fc.string(), fc.constantFrom<Channel>('email', 'sms', 'in_app'), (name, channel) => {
        const fixed = template('<i>{{name}}</i>', { channel });
        expect(renderTemplate(fixed, { name })).toEqual(renderTemplate({ ...fixed }, { name }));
      }),
      { numRuns: 50 },
    );
  });
});

function fcOutcome(render: () => string): string {
  try {
    return render();
  } catch {
    return '';
  }
}

describe('chooseLocale', () => {
  it.each([
    [['vi', 'en'], 'vi-VN', 'en', 'vi'],
    [['vi-VN', 'vi'], 'vi-VN', 'en', 'vi-VN'],
    [['vi', 'en'], 'fr', 'en-GB', 'en'],
    [['vi', 'en'], undefined, 'vi', 'vi'],
    [['zh-Hant', 'zh'], 'zh-hant-tw', 'en', 'zh-Hant'],
    [['ja', 'de'], 'fr', 'en', 'de'],
    [[], 'vi', 'en', undefined],
  ])('chooses from %j for %s with default %s: %s', (available, wanted, fallback, chosen) => {
    expect(chooseLocale(available, wanted, fallback)).toBe(chosen);
  });
});
