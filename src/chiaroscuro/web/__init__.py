"""The workbench: a local web page where a painting answers. Needs the extra ``app``.

::

    app.py       what starts at once: the page, its files, who may come in
    guard.py     hosts, origins, headers, the password
    sessions.py  what belongs to one visitor, bounded and dropped
    jobs.py      one run at a time: the queue, progress, stopping
    desk.py      one painting on a visitor's desk: faces, evidence, maps, live answers
    layers.py    maps as transparent pictures
    views.py     addresses to calls; loaded after the first paint, since it brings torch

Thin by rule: what the command line calls is called here, and its JSON is the manifest's.
"""
