from __future__ import annotations

from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from mail_receiver import PASSWORD, USER, Inbox, receiving, write_certificate
from postgres_server import free_port
from pydantic import ValidationError

from blocks.mail import MailRefused, MailServer, MailUnavailable
from blocks.settings import MailSettings

BOTH = ["ada@example.com", "bob@example.com"]


def mail(*recipients: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "floe@example.com", ", ".join(recipients), "A report"
    message.set_content("Sales rose.")
    return message


def server(inbox: Inbox, **fields: Any) -> MailServer:
    known = {"host": "127.0.0.1", "port": inbox.port, "sender": "floe@example.com", "security": "none"}
    return MailServer(**(known | fields))


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with receiving() as found:
        yield found


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A file with certificate and key, and the certificate alone."""
    file = tmp_path_factory.mktemp("certificate") / "server.pem"
    return file, write_certificate(file)


def test_a_mail_goes_to_every_recipient(inbox: Inbox) -> None:
    server(inbox).send(mail(*BOTH))
    assert inbox.recipients == [BOTH]
    assert inbox.mails[0]["Subject"] == "A report"


def test_a_login_travels_only_within_tls(certificate: tuple[Path, str]) -> None:
    file, public = certificate
    secrets = {"user": USER, "password": PASSWORD, "ca_certificate": public}
    with receiving(file, login=True) as inbox:
        server(inbox, security="starttls", **secrets).send(mail(*BOTH))
        assert len(inbox.mails) == 1
        with pytest.raises(MailRefused, match="answered 535") as caught:
            server(inbox, security="starttls", **(secrets | {"password": "not-this-one"})).send(mail(*BOTH))
    assert "not-this-one" not in str(caught.value)
    with receiving() as plain, pytest.raises(MailRefused, match="cannot be used safely") as refused:
        server(plain, security="starttls", **secrets).send(mail(*BOTH))
    assert plain.mails == []
    assert refused.value.state == "nothing was sent"


def test_a_mail_may_be_encrypted_from_the_first_byte(certificate: tuple[Path, str]) -> None:
    file, public = certificate
    with receiving(file, at_once=True) as inbox:
        server(inbox, security="tls", ca_certificate=public).send(mail(*BOTH))
        assert inbox.recipients == [BOTH]
        with pytest.raises(MailRefused, match="certificate verify failed"):
            server(inbox, security="tls").send(mail(*BOTH))
    assert len(inbox.mails) == 1


def test_a_server_whose_certificate_nobody_knows_gets_nothing(certificate: tuple[Path, str]) -> None:
    with receiving(certificate[0]) as inbox, pytest.raises(MailRefused, match="certificate verify failed"):
        server(inbox, security="starttls").send(mail(*BOTH))
    assert inbox.mails == []


def test_one_refused_recipient_is_named_and_the_other_has_the_mail(inbox: Inbox) -> None:
    inbox.refused["bob@example.com"] = "550 no such user"
    with pytest.raises(MailRefused, match=r"bob@example\.com \(550 no such user\)") as caught:
        server(inbox).send(mail(*BOTH))
    assert caught.value.state == "the other recipients have the mail"
    assert inbox.recipients == [["ada@example.com"]]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param("451 come again later", MailUnavailable, id="for now"),
        pytest.param("552 too large", MailRefused, id="for good"),
    ],
)
def test_whether_to_try_again_is_the_answer_s_class(
    inbox: Inbox, answer: str, error: type[Exception]
) -> None:
    inbox.answers.append(answer)
    with pytest.raises(error, match=answer):
        server(inbox).send(mail(*BOTH))


def test_all_recipients_put_off_is_worth_another_try(inbox: Inbox) -> None:
    inbox.refused["ada@example.com"] = "450 greylisted"
    with pytest.raises(MailUnavailable, match="450 greylisted"):
        server(inbox).send(mail("ada@example.com"))


def test_a_server_that_is_not_there_may_come_back() -> None:
    with pytest.raises(MailUnavailable, match="does not answer"):
        server(Inbox(port=free_port())).send(mail(*BOTH))


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"host": "mail.example.com", "security": "none"}, id="in the clear to elsewhere"),
        pytest.param({"host": "10.0.0.7", "security": "none"}, id="in the clear to a private address"),
        pytest.param({"host": "mail.example.com", "user": "floe"}, id="a user without a password"),
    ],
)
def test_an_unsafe_server_is_refused_by_the_block_and_by_the_settings(fields: dict[str, Any]) -> None:
    for kind in (MailServer, MailSettings):
        with pytest.raises(ValidationError, match=r"must be encrypted|set together"):
            kind(sender="floe@example.com", **fields)


def test_the_password_is_in_no_text_of_the_block() -> None:
    block = MailServer(host="mail.example.com", sender="floe@example.com", user=USER, password=PASSWORD)
    assert PASSWORD not in repr(block) + str(block.model_dump())
