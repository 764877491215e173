import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { assert } from 'chai';
import type { Browser, Page } from 'playwright-core';
import { differentComparison, equalComparison, report } from '../../src/report/fixture.ts';
import { toHtml } from '../../src/report/html.ts';
import type { Report } from '../../src/report/model.ts';
import { openBrowser } from '../support/browser.ts';

describe('the HTML report in a browser', () => {
  let folder: string;
  let browser: Browser;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'parity-html-'));
    browser = await openBrowser();
  });

  after(async () => {
    await browser.close();
    await rm(folder, { recursive: true });
  });

  /** Opens the report as a file, as people do, and notes what it asks for and complains about. */
  async function withPage(
    value: Report,
    work: (page: Page, seen: { readonly requests: string[]; readonly complaints: string[] }) => Promise<void>,
    options: Parameters<Browser['newPage']>[0] = {},
  ): Promise<void> {
    const file = join(folder, 'report.html');
    await writeFile(file, toHtml(value));
    const page = await browser.newPage(options);
    const seen = { requests: [] as string[], complaints: [] as string[] };
    page.on('request', (request) => seen.requests.push(request.url()));
    page.on('console', (message) => seen.complaints.push(message.text()));
    page.on('pageerror', (error) => seen.complaints.push(String(error)));
    page.on('dialog', (dialog) => {
      seen.complaints.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    try {
      await page.goto(pathToFileURL(file).href);
      await work(page, seen);
    } finally {
      await page.close();
    }
  }

  it('shows the verdict first, the counts of each table, and why they differ', async () => {
    await withPage(report(), async (page) => {
      assert.equal(await page.getByRole('status').textContent(), 'Failed');
      assert.equal(await page.title(), 'Failed: flights-round-trip – Pipeline Parity');
      const row = page.getByRole('row', { name: /flights \(ops\)/ });
      assert.include(await row.textContent(), '20,000');
      const finding = page.getByText('3,453 rows changed; all explained by ShiftedByHours +5 h').first();
      assert.isTrue(await finding.isVisible());
      assert.isTrue(await page.getByText(report().fingerprint ?? '').isVisible());
    });
  });

  it('asks for nothing but itself and complains of nothing', async () => {
    await withPage(report(), async (_, { requests, complaints }) => {
      assert.lengthOf(requests, 1);
      assert.deepEqual(complaints, []);
    });
  });

  it('runs nothing that a hostile table name or value carries', async () => {
    const hostile = '</style></title><script>alert(1)</script><img src="http://127.0.0.1:9/x" onerror="alert(2)">';
    const comparison = differentComparison({
      table: hostile,
      samples: [
        {
          class: 'changed',
          key: { [hostile]: hostile },
          columns: [{ name: hostile, baseline: hostile, candidate: null }],
        },
      ],
    });
    const base = report({ comparisons: [comparison] });
    await withPage({ ...base, run: { ...base.run, name: hostile } }, async (page, { requests, complaints }) => {
      assert.deepEqual(complaints, []);
      assert.lengthOf(requests, 1);
      assert.equal(await page.locator('script, img').count(), 0);
      assert.equal(await page.getByRole('heading', { level: 1 }).textContent(), hostile);
    });
  });

  it('opens and closes a table from the keyboard', async () => {
    await withPage(report(), async (page) => {
      const details = page.locator('details').first();
      assert.isTrue(await details.evaluate((element) => element.hasAttribute('open')));
      await details.locator('summary').focus();
      await page.keyboard.press('Enter');
      assert.isFalse(await details.evaluate((element) => element.hasAttribute('open')));
    });
  });

  for (const colorScheme of ['light', 'dark'] as const) {
    it(`is readable in ${colorScheme}: every text has a contrast of at least 4.5`, async () => {
      await withPage(
        report(),
        async (page) => {
          const weak = await page.evaluate<unknown>(textsOfWeakContrast);
          assert.deepEqual(weak, []);
        },
        { colorScheme },
      );
    });
  }

  it('is laid out for screen readers: landmarks, one first heading, a header for every column and row', async () => {
    await withPage(report(), async (page) => {
      for (const role of ['banner', 'main', 'contentinfo'] as const)
        assert.equal(await page.getByRole(role).count(), 1);
      assert.equal(await page.locator('h1').count(), 1);
      assert.equal(await page.locator('html[lang]').count(), 1);
      assert.equal(await page.locator('thead th:not([scope])').count(), 0);
    });
  });

  it('does not scroll sideways on a phone', async () => {
    await withPage(
      report(),
      async (page) => {
        const [width, visible] = await page.evaluate<number[]>('[document.documentElement.scrollWidth, innerWidth]');
        assert.isAtMost(width ?? 0, visible ?? 0);
      },
      { viewport: { width: 390, height: 800 } },
    );
  });

  it('prints every table, also those that are folded', async () => {
    const comparisons = Array.from({ length: 8 }, (_, index) => differentComparison({ table: `table_${index}` }));
    await withPage(report({ comparisons }), async (page) => {
      await page.emulateMedia({ media: 'print' });
      const last = page.locator('details', { hasText: 'table_7' }).getByRole('heading', { name: 'Samples' });
      await last.waitFor({ state: 'visible' });
    });
  });

  it('opens with 1,000 tables, a few of which differ', async () => {
    const comparisons = Array.from({ length: 1000 }, (_, index) =>
      index % 250 === 0
        ? differentComparison({ table: `table_${index}` })
        : equalComparison({ table: `table_${index}` }),
    );
    await withPage(report({ comparisons }), async (page) => {
      assert.isTrue(await page.getByText('996 equal comparisons').isVisible());
      assert.isTrue(await page.getByRole('link', { name: 'table_750 (ops)' }).isVisible());
      assert.isFalse(await page.getByText('table_1 (ops)', { exact: true }).isVisible());
    });
  });
});

/** In the page's own language, as text: the project's code knows no DOM. Ratios as WCAG 2 defines them. */
const textsOfWeakContrast = `(() => {
  const channels = (color) => (color.match(/[\\d.]+/g) ?? []).map(Number);
  const luminance = (color) => {
    const [r, g, b] = channels(color).map((value) => {
      const part = value / 255;
      return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const background = (start) => {
    for (let at = start; at !== null; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (channels(color)[3] !== 0) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  return [...document.querySelectorAll('body *')]
    .filter((element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.nodeValue.trim()))
    .map((element) => {
      const [a, b] = [luminance(getComputedStyle(element).color), luminance(background(element))];
      return { text: element.textContent, ratio: (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) };
    })
    .filter(({ ratio }) => ratio < 4.5);
})()`;
