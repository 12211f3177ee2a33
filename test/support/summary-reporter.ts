import type { Reporter, TestModule } from 'vitest/node';

/** Ends a run with one plain line that any tool can read: `Tests: 12 passed, 0 failed, 1 skipped`. */
export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const counts = { passed: 0, failed: 0, skipped: 0 };
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state !== 'pending') counts[state] += 1;
      }
      // A file that could not be loaded has no tests and counts as one failure.
      if (module.state() === 'failed' && [...module.children.allTests('failed')].length === 0) counts.failed += 1;
    }
    process.stdout.write(`Tests: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`);
  }
}
