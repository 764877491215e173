import { accessSync, constants } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

/** A headless browser: the distribution's or Chrome where there is one, else the one that set-up brought by Playwright. */
export async function openBrowser(): Promise<Browser> {
  const executablePath = installed.find(isExecutable);
  return await chromium.launch({ args: ['--no-sandbox'], ...(executablePath === undefined ? {} : { executablePath }) });
}

/** The same list stands in scripts/setup.sh. */
const installed = ['/usr/bin/chromium-headless-shell', '/usr/bin/google-chrome', '/usr/bin/chromium'];

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
