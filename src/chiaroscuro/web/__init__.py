"""The workbench: a local web page that explains detections in a painting. Needs the extra ``app``.

::

    settings.py   how the workbench is run
    app.py        the page, its static files, login and errors; starts without torch
    guard.py      allowed hosts and origins, headers, password comparison
    serve.py      uvicorn on one socket
    workbench.py  everything that the API shares: detectors, runs, maps, jobs, sessions
    sessions.py   what belongs to one user; bounded, dropped when idle
    jobs.py       one run at a time: the queue, progress, stopping
    painting.py   one painting with its faces, evidence and maps
    work.py       what jobs do: observe detectors, measure curves
    bodies.py     typed request bodies and queries
    layers.py     maps as transparent pictures
    exports.py    files to download
    runs.py       run folders of ``study``
    api/          addresses to calls; loaded after the page is served, since it imports torch

The layer is thin: it calls what the command line calls, and its JSON is the manifest's.
"""
