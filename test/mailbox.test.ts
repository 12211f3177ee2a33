import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { launchChromium, openPage } from './services/chromium.ts';
import { eventually } from './support/eventually.ts';
import { postEvent, startTestService, type TestService, welcomeEvent } from './support/service.ts';

const TENANT = 'tenant-mailbox';

// One column on a phone, two columns on wider screens.
const BODY = `<style>
.half { display: inline-block; width: 49%; }
@media (max-width: 480px) { .half { display: block !important; width: 100% !important; } }
</style>
<div><p class="half" id="left">{{full_name}}</p><p class="half" id="right">right</p></div>`;

describe('the mailbox in Chromium', () => {
  let service: TestService;
  let browser: Browser;
  let page: Page;
  let token: string;
  let problems: string[];

  beforeAll(async () => {
    service = await startTestService();
    const template = {
      eventCode: 'user.welcome',
      channel: 'email',
      locale: 'vi',
      text: 'Hello {{full_name}}',
    } as const;
    await service.core.templates.publish(TENANT, [{ ...template, subject: 'For {{full_name}}', body: BODY }], null);
    token = await service.token({ tenant_id: TENANT, permissions: ['notif.ingest'] });
    browser = await launchChromium();
  }, 600_000);
  afterAll(async () => {
    await browser?.close();
    await service?.close();
  });

  beforeEach(async () => {
    await page?.close();
    ({ page, problems } = await openPage(browser));
  });

  const send = (name: string) =>
    postEvent(
      service,
      token,
      'notification.triggered.v1',
      welcomeEvent(TENANT, { params: { full_name: name, first_login_at: 'x' } }),
    );
  const open = async (name: string): Promise<void> => {
    await page.goto(`${service.url}/mailbox`);
    await page.getByRole('link', { name: `For ${name}` }).click();
    await page.getByRole('heading', { name: `For ${name}` }).waitFor();
  };

  it('shows new messages while it is open and announces them', async () => {
    await page.goto(`${service.url}/mailbox`);
    await page.getByText('No messages yet').waitFor();
    await send('Anna');
    await page.getByRole('link', { name: 'For Anna' }).waitFor();
    expect(await page.getByRole('status').textContent()).toBe('1 new message');
    expect(problems).toEqual([]);
  });

  it('shows a mail in phone and desktop width, and its source', async () => {
    await send('Bình');
    await eventually(async () => {
      const listed = await fetch(`${service.url}/mailbox`);
      return (await listed.text()).includes('For Bình');
    }, 'the mail');
    await open('Bình');
    const frame = page.frameLocator('iframe');
    const width = async (): Promise<number> => (await page.locator('iframe').boundingBox())?.width ?? 0;
    const tops = async (): Promise<number[]> =>
      Promise.all(['#left', '#right'].map(async (id) => (await frame.locator(id).boundingBox())?.y ?? 0));

    expect(await width()).toBe(375);
    const [phoneLeft = 0, phoneRight = 0] = await tops();
    expect(phoneRight).toBeGreaterThan(phoneLeft);

    await page.getByText('Desktop', { exact: true }).click();
    expect(await width()).toBeGreaterThan(800);
    const [desktopLeft, desktopRight] = await tops();
    expect(desktopRight).toBe(desktopLeft);

    await page.getByText('Plain text', { exact: true }).click();
    await page.getByText('Hello Bình', { exact: true }).waitFor();
    expect(await page.locator('iframe').isVisible()).toBe(false);
    await page.getByText('HTML source', { exact: true }).click();
    expect(await page.locator('.source pre').textContent()).toMatch(/<html lang="vi">.*Bình/s);
    expect(problems).toEqual([]);
  });

  it('is usable on a phone without horizontal scrolling', async () => {
    await page.setViewportSize({ width: 375, height: 667 });
    const name = 'Công Tằng Tôn Nữ '.repeat(8).trim();
    await send(name);
    await page.goto(`${service.url}/mailbox`);
    const link = page.getByRole('link', { name: `For ${name}` });
    await link.waitFor();
    const overflow = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect(await overflow()).toBe(0);
    await link.click();
    await page.getByRole('heading', { name: `For ${name}` }).waitFor();
    expect(await overflow()).toBe(0);
  });
});
