// What a browser knows of the runtime: the newest row of each actor, the summary, and the points of the charts.

const CHARTED_MS = 15 * 60 * 1000;

export class Known {
  rows = new Map();
  summary = null;
  samples = [];

  /** Takes an event of the stream; returns the ids whose rows have changed, and whether actors have come or gone. */
  take(event, { rows, gone = [], summary, samples }) {
    if (event === 'snapshot') {
      this.rows.clear();
      this.samples = samples;
    } else if (summary.sample) {
      this.samples.push(summary.sample);
      while (this.samples[0].at + CHARTED_MS < summary.sample.at) this.samples.shift();
    }
    let isOther = event === 'snapshot' || gone.length > 0;
    for (const row of rows) {
      const before = this.rows.get(row.id);
      if (!before || before.parent !== row.parent) isOther = true;
      this.rows.set(row.id, row);
    }
    for (const id of gone) this.rows.delete(id);
    this.summary = summary;
    return { changed: new Set(rows.map((row) => row.id)), gone: new Set(gone), isOther };
  }

  /** Everything, in the form of the stream's first event. */
  snapshot() {
    return { rows: [...this.rows.values()], summary: this.summary, samples: this.samples };
  }
}
