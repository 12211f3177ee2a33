import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { createMetrics } from '../../src/observability/metrics.ts';
import { startTenantService, type TenantService } from '../support/tenant.ts';

describe('/metrics', () => {
  let service: TenantService;
  beforeAll(async () => {
    service = await startTenantService();
  });
  afterAll(() => service.close());

  it('counts received, sent and failed events and their duration, without tests', async () => {
    const tenant = await service.newTenant({}, ['in_app']);
    const inbox = {
      recipient: { user_id: 'canary-recipient' },
      channels: ['in_app'],
      params: { full_name: 'canary-name' },
    };
    await tenant.reached(await tenant.post(inbox), 'sent');
    await tenant.reached(await tenant.post({ ...inbox, event_code: 'no.template' }), 'failed');
    const test = { channel: 'in_app', recipient: 'canary-recipient', params: { full_name: 'x' } };
    await tenant.reached(await tenant.post(test, 'notification.test.v1'), 'sent');

    const response = await fetch(`${service.url}/metrics`);
    const text = await response.text();
    expect(response.headers.get('content-type')).toContain('text/plain');
    const of = `tenant_id="${tenant.id}"`;
    expect(text).toMatch(new RegExp(`notif_event_received_total\\{${of}\\} 3`));
    expect(text).toMatch(
      new RegExp(`notif_sent_success_total\\{${of},channel="in_app",template_id="[0-9a-f-]+",status="sent"\\} 1`),
    );
    expect(text).toMatch(
      new RegExp(`notif_sent_failed_total\\{${of},channel="in_app",template_id="none",status="failed"\\} 1`),
    );
    expect(text).toContain('notif_delivery_duration_ms_count{channel="in_app",status="sent"} 1');
    for (const name of [
      'notif_sent_fallback_total',
      'notif_queue_size',
      'notif_db_latency_ms',
      'notif_config_load_errors_total',
      'notif_circuit_state',
    ]) {
      expect(text).toContain(`# TYPE ${name} `);
    }
    expect(text).not.toContain('canary');
  });

  it('has a bounded number of values per label', async () => {
    const metrics = createMetrics({ queueSize: async () => [] });
    for (let number = 0; number < 1_000; number += 1) metrics.received(`tenant-${number}`);
    const lines = (await metrics.registry.metrics())
      .split('\n')
      .filter((line) => line.startsWith('notif_event_received'));
    expect(lines).toHaveLength(201);
    expect(lines.at(-1)).toBe('notif_event_received_total{tenant_id="other"} 800');
  });
});
