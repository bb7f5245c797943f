"""The server that reports are sent through: SMTP, never in the clear beyond this machine."""

from __future__ import annotations

import smtplib
import ssl
from contextlib import suppress
from email.message import EmailMessage
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from blocks.errors import PermanentError, ServiceUnavailable
from blocks.settings import MailSettings
from blocks.strict_block import StrictBlock

SECONDS = 30


class MailRefused(PermanentError):
    """The mail server will not take a mail, or cannot be trusted with it."""


class MailUnavailable(ServiceUnavailable):
    """The mail server does not answer, or takes nothing for now."""


class MailServer(StrictBlock):
    """An SMTP server and the address that mails come from."""

    _block_type_name = "Floe Mail Server"
    _block_type_slug = "floe-mail-server"
    _description = "The SMTP server that reports are sent through."
    saved_by = "set FLOE_MAIL__HOST, __SENDER, __USER, __PASSWORD, then `floe blocks register`"

    host: str = Field(description="of the SMTP server")
    port: int = Field(587, description="587 for starttls, 465 for tls")
    sender: str = Field(description="address that mails come from")
    user: str | None = Field(None, description="None where the server asks for no login")
    password: SecretStr | None = Field(None, description="of that user")
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="how the connection is kept secret; none only on this machine"
    )
    ca_certificate: SecretStr | None = Field(None, description="PEM text, where a private authority signed")

    @model_validator(mode="after")
    def _secret(self) -> Self:
        MailSettings.model_validate(self.model_dump(include=set(MailSettings.model_fields)))
        return self

    def send(self, message: EmailMessage) -> None:
        """Send one mail to all of its recipients.

        A mail that the server took and that is sent again has the same Message-ID: set one.

        Raises:
            MailRefused: the server refused it or a recipient, or its certificate is not trusted.
            MailUnavailable: the server does not answer, or takes nothing for now.
        """
        try:
            connection = self._open()
            try:
                refused = connection.send_message(message)
            finally:
                # The mail was taken or not; what follows changes nothing about it.
                with suppress(smtplib.SMTPException, OSError):
                    connection.quit()
                connection.close()
        except (smtplib.SMTPException, OSError) as error:
            raise self._sorted(error) from error
        if refused:
            raise MailRefused(
                f"The mail server {self._where} refused {_reasons(refused)}",
                state="the other recipients have the mail",
                next_command="mend `recipients` in the dashboard's file",
            )

    @property
    def _where(self) -> str:
        return f"{self.host}:{self.port}"

    def _open(self) -> smtplib.SMTP:
        if self.security == "tls":
            connection: smtplib.SMTP = smtplib.SMTP_SSL(
                self.host, self.port, timeout=SECONDS, context=self._context()
            )
        else:
            connection = smtplib.SMTP(self.host, self.port, timeout=SECONDS)
        try:
            if self.security == "starttls":
                connection.starttls(context=self._context())
            if self.user is not None and self.password is not None:
                connection.login(self.user, self.password.get_secret_value())
        except BaseException:
            connection.close()
            raise
        return connection

    def _context(self) -> ssl.SSLContext:
        known = self.ca_certificate.get_secret_value() if self.ca_certificate else None
        return ssl.create_default_context(cadata=known)

    def _sorted(self, error: smtplib.SMTPException | OSError) -> MailRefused | MailUnavailable:
        """Return the error to raise; nothing of the mail or of the password is in it."""
        again = "look at that server, then run the report again"
        if isinstance(error, smtplib.SMTPRecipientsRefused):
            passes = all(code < 500 for code, _ in error.recipients.values())
            what = f"The mail server {self._where} refused {_reasons(error.recipients)}"
        elif isinstance(error, smtplib.SMTPResponseException):
            passes = error.smtp_code < 500
            what = f"The mail server {self._where} answered {error.smtp_code} {_text(error.smtp_error)}"
        elif isinstance(error, smtplib.SMTPNotSupportedError | ssl.SSLError):
            passes, what = False, f"The mail server {self._where} cannot be used safely: {error}"
        else:
            passes, what = True, f"The mail server {self._where} does not answer: {error}"
        if passes:
            return MailUnavailable(what, state="nothing was sent", next_command=again)
        return MailRefused(
            what, state="nothing was sent", next_command="mend FLOE_MAIL__..., then `floe blocks register`"
        )


def _reasons(refused: dict[str, tuple[int, bytes]]) -> str:
    return ", ".join(f"{address} ({code} {_text(reason)})" for address, (code, reason) in refused.items())


def _text(words: bytes | str) -> str:
    text = words.decode(errors="replace") if isinstance(words, bytes) else words
    return " ".join(text.split())[:200]
