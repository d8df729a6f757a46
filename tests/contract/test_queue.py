"""Order, deletion, interruption and history, with prompts that take a while."""

from __future__ import annotations

import asyncio

from tests.contract.driver import Client, Recording, chain, empty, node
from tests.engines import Engine

SLOW = 14


def _save(color: int, prefix: str) -> dict[str, object]:
    return {"1": empty(color), "2": node("SaveImage", images=["1", 0], filename_prefix=prefix)}


async def test_interrupt_hits_its_own_prompt_only(client: Client) -> None:
    prompt_id = await client.post(chain(0x110001, blurs=SLOW, prefix="ct_slow"))
    await client.until_node(prompt_id, "11")
    assert await client.json("POST", "/interrupt", {"prompt_id": "another"}) == (200, None)
    await client.until_node(prompt_id, "12")
    assert await client.json("POST", "/interrupt", {"prompt_id": prompt_id}) == (200, None)
    await client.until_node(prompt_id, None)

    recording = Recording("07-interrupt-running")
    ending = next(e for e in recording.events if e["type"] == "execution_interrupted")
    seen = next(e for e in client.events if e["type"] == "execution_interrupted")
    assert seen["data"].keys() == ending["data"].keys()
    assert seen["data"]["node_type"] == "ImageBlur"
    assert set(seen["data"]["executed"]) >= {"1", "10", "11"}
    # What follows the interruption, and what the whole began with, is as recorded.
    assert [e["type"] for e in client.events][-3:] == [e["type"] for e in recording.events][-3:]
    assert [e["type"] for e in client.events][:15] == [e["type"] for e in recording.events][:15]

    entry = await client.history(prompt_id)
    recorded_entry = next(
        entry
        for request, answer in recording.exchanges()
        if request["path"].startswith("/history")
        for entry in answer["json"].values()
    )
    assert entry["status"]["status_str"] == recorded_entry["status"]["status_str"] == "error"
    assert entry["status"]["completed"] is False
    assert [m[0] for m in entry["status"]["messages"]] == [m[0] for m in recorded_entry["status"]["messages"]]
    assert entry["outputs"] == recorded_entry["outputs"] == {}


async def test_interrupt_without_id_hits_what_runs_and_does_no_harm_when_idle(client: Client) -> None:
    assert await client.json("POST", "/interrupt") == (200, None)
    prompt_id = await client.post(chain(0x110002, blurs=SLOW, prefix="ct_slow"))
    await client.until_node(prompt_id, "11")
    assert await client.json("POST", "/interrupt", {}) == (200, None)
    await client.until_node(prompt_id, None)
    assert "execution_interrupted" in client.types(prompt_id)
    entry = await client.run(_save(0x110003, "ct_after"))
    assert entry["status"]["status_str"] == "success"


async def test_queue_of_three_front_and_deletions(client: Client) -> None:
    running = await client.post(chain(0x120001, blurs=SLOW, prefix="ct_slow"))
    await client.until_node(running, "1")
    second = await client.post(_save(0x120002, "ct_second"))
    third = await client.post(_save(0x120003, "ct_third"))
    front = await client.post(_save(0x120004, "ct_front"), front=True)

    status, queue = await client.json("GET", "/queue")
    assert status == 200
    assert [item[1] for item in queue["queue_running"]] == [running]
    pending = {item[1]: item for item in queue["queue_pending"]}
    assert pending.keys() == {second, third, front}
    assert min(queue["queue_pending"])[1] == front
    assert pending[second][0] < pending[third][0]
    number, _, prompt, extra, outputs = pending[third]
    assert (prompt, extra, outputs) == (_save(0x120003, "ct_third"), {"client_id": client.id}, ["2"])
    assert pending[front][0] < 0 < number
    assert await client.json("GET", "/prompt") == (200, {"exec_info": {"queue_remaining": 4}})

    assert await client.json("POST", "/queue", {"delete": [second]}) == (200, None)
    assert await client.json("POST", "/queue", {"delete": [running, "unknown"]}) == (200, None)
    _, queue = await client.json("GET", "/queue")
    assert [item[1] for item in queue["queue_running"]] == [running]
    assert {item[1] for item in queue["queue_pending"]} == {third, front}

    await client.json("POST", "/interrupt", {"prompt_id": running})
    for prompt_id in (running, front, third):
        await client.until_node(prompt_id, None)
    starts = [e["data"]["prompt_id"] for e in client.events if e["type"] == "execution_start"]
    assert starts == [running, front, third]
    assert await client.json("GET", f"/history/{second}") == (200, {})
    left = [
        e["data"]["status"]["exec_info"]["queue_remaining"] for e in client.events if e["type"] == "status"
    ]
    # idle; put and taken; three put; one deleted; then end, taken, end, taken, end.
    assert left == [0, 1, 1, 2, 3, 4, 3, 2, 2, 1, 1, 0]
    types = [e["type"] for e in client.events]
    ends = [i for i, e in enumerate(client.events) if e["type"] == "executing" and e["data"]["node"] is None]
    assert types[ends[0] + 1 : ends[0] + 3] == ["status", "execution_start"]


async def test_clear_empties_what_waits_and_leaves_what_runs(client: Client) -> None:
    running = await client.post(chain(0x130001, blurs=SLOW, prefix="ct_slow"))
    await client.until_node(running, "1")
    for color in (0x130002, 0x130003):
        await client.post(_save(color, "ct_cleared"))
    assert await client.json("POST", "/queue", {"clear": True}) == (200, None)
    _, queue = await client.json("GET", "/queue")
    assert ([item[1] for item in queue["queue_running"]], queue["queue_pending"]) == ([running], [])
    # The last one that waits counts twice when it is deleted.
    alone = await client.post(_save(0x130004, "ct_cleared"))
    await client.json("POST", "/queue", {"delete": [alone]})
    await client.json("POST", "/interrupt")
    await client.until_node(running, None)
    left = [
        e["data"]["status"]["exec_info"]["queue_remaining"] for e in client.events if e["type"] == "status"
    ]
    assert left == [0, 1, 1, 2, 3, 1, 2, 1, 1, 0]


async def test_history_pages_and_deletion(client: Client) -> None:
    assert await client.json("POST", "/history", {"clear": True}) == (200, None)
    ids = []
    for color in range(0x140001, 0x140004):
        prompt_id = await client.post(_save(color, "ct_history"))
        await client.until_node(prompt_id, None)
        ids.append(prompt_id)

    async def listed(query: str) -> list[str]:
        status, answer = await client.json("GET", "/history" + query)
        assert status == 200
        return list(answer)

    assert await listed("") == ids
    assert await listed("?max_items=2") == ids[1:]
    assert await listed("?max_items=1&offset=0") == ids[:1]
    assert await listed("?offset=1") == ids[1:]
    assert await listed("?max_items=9") == ids
    assert await client.json("POST", "/history", {"delete": [ids[1], "unknown"]}) == (200, None)
    assert await listed("") == [ids[0], ids[2]]
    assert await client.json("POST", "/history", {"clear": True}) == (200, None)
    assert await listed("") == []


async def test_a_socket_that_connects_late_gets_nothing_but_the_history_is_complete(client: Client) -> None:
    await client.close()
    prompt_id = await client.post(_save(0x150001, "ct_late"))
    entry = await client.history(prompt_id)
    before = len(client.events)
    await client.open()
    assert [e["type"] for e in client.events[before:]] == ["status", "feature_flags"]
    (image,) = entry["outputs"]["2"]["images"]
    assert image == {"filename": "ct_late_00001_.png", "subfolder": "", "type": "output"}


async def test_reconnecting_tells_the_running_node_and_goes_on(client: Client) -> None:
    prompt_id = await client.post(chain(0x160001, blurs=SLOW, prefix="ct_slow"))
    await client.until_node(prompt_id, "10")
    await client.close()
    before = len(client.events)
    await client.open()
    first = client.events[before : before + 2]
    assert first[0]["data"] == {"status": {"exec_info": {"queue_remaining": 1}}, "sid": client.id}
    assert first[1]["type"] == "executing"
    assert first[1]["data"].keys() == {"node"}
    await client.json("POST", "/interrupt", {"prompt_id": prompt_id})
    await client.until_node(prompt_id, None)
    assert client.types(prompt_id)[-1] == "executing"


async def test_a_second_socket_takes_over_until_the_first_one_closes(engine: Engine) -> None:
    async with Client(engine) as old, Client(engine, old.id) as new:
        heard = len(old.events)
        prompt_id = await new.post(_save(0x170001, "ct_over"))
        await new.until_node(prompt_id, None)
        assert len(old.events) == heard
        await old.close()
        heard = len(new.events)
        late = await new.post(_save(0x170002, "ct_over"))
        await new.history(late)
        # Only an answered request proves that nothing is still on its way.
        await new.json("GET", "/prompt")
        await asyncio.sleep(0.1)
        assert len(new.events) == heard


async def test_what_shows_something_soonest_runs_first(client: Client) -> None:
    prompt = {
        "9": node("SaveImage", images=["5", 0], filename_prefix="ct_order"),
        "5": node("ImageInvert", image=["4", 0]),
        "4": node("ImageInvert", image=["2", 0]),
        "2": empty(0x180001),
        "8": node("SaveImage", images=["1", 0], filename_prefix="ct_order"),
        "1": empty(0x180002),
    }
    prompt_id = await client.post(prompt)
    await client.until_node(prompt_id, None)
    ran = [e["data"]["node"] for e in client.events if e["type"] == "executing"]
    assert ran == ["1", "8", "2", "4", "5", "9", None]
    entry = await client.history(prompt_id)
    assert entry["outputs"].keys() == {"8", "9"}
