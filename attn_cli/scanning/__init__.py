"""What heads do over a corpus: statistics of every head over files of prompts.

From top to bottom:

    run          a scan from its beginning or from what is saved; yields how far it is
    engines      what an engine is (parts in, records as bytes out), and that of this process
    workers      the engine of processes on this machine; `worker` is one of these
    cluster      the engine of a Dask cluster; `scheduler` is the connection, `member` runs there
    measuring    a part in, a `Record` out: opens the model once, reads and measures each prompt
    records      what is known of some parts: saved, read strictly, merged; a commutative monoid
    statistics   counts, exact sums, extremes, sketches of quantiles
    examples     the prompts in which a measure of a head is best
    pairs        which tokens a head joins
    results      the record that documents, pages and tables are made of
    corpus       files to pieces of text, pieces to parts
    job          all that a worker has to know, as JSON

Nothing depends on how a corpus was cut, in which order its parts were done or who did them: counts
are whole numbers, sums are whole numbers of 2⁻³², examples are chosen by value and place.

What a record takes: for each head some 6,800 cells of 8 bytes, and the ids of the prompts that are
examples, at most eight for each measure. That, and what comes in at the time, is all that the one
who merges holds, whatever the corpus.
"""
