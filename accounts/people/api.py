"""/v1/members, /v1/invitations"""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from accounts import idempotency
from accounts.idempotency import body_fingerprint, once
from accounts.people.members import (
    change_role,
    get_member,
    invite_by_mail,
    list_invitations,
    list_members,
    remove_member,
    withdraw_invitation,
)
from accounts.people.serializers import (
    ChangeMemberRequest,
    InvitationPage,
    InvitationResponse,
    InviteRequest,
    MemberPage,
    MemberResponse,
)
from accounts.scopes import Scope
from voicereel_site.answers import Response
from voicereel_site.pagination import PageQuery, page
from voicereel_site.views import ApiView


class MemberListView(ApiView):
    """GET /v1/members"""

    scopes = {"GET": Scope.MEMBERS_READ}

    @extend_schema(operation_id="listMembers", parameters=[PageQuery], responses={200: MemberPage})
    def get(self, request: Request) -> Response:
        """List the people of your account, newest first."""
        query = PageQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        rows = list_members(request.auth.tenant)
        return Response(page(rows, query.validated_data, lambda row: MemberResponse(row).data))


class MemberView(ApiView):
    """GET, PATCH and DELETE /v1/members/{id}"""

    scopes = {
        "GET": Scope.MEMBERS_READ,
        "PATCH": Scope.MEMBERS_WRITE,
        "DELETE": Scope.MEMBERS_WRITE,
    }

    @extend_schema(operation_id="getMember", responses={200: MemberResponse})
    def get(self, request: Request, member_id: str) -> Response:
        """One member: their role, and whether they log in with a second factor."""
        return Response(MemberResponse(get_member(request.auth.tenant, member_id)).data)

    @extend_schema(
        operation_id="changeMember", request=ChangeMemberRequest, responses={200: MemberResponse}
    )
    def patch(self, request: Request, member_id: str) -> Response:
        """Give a member another role. Nobody gives, or takes away, more than they hold."""
        row = get_member(request.auth.tenant, member_id)
        body = ChangeMemberRequest(data=request.data)
        body.is_valid(raise_exception=True)
        changed = change_role(request.auth, row, body.validated_data["role"])
        return Response(MemberResponse(changed).data)

    @extend_schema(operation_id="removeMember", responses={204: None})
    def delete(self, request: Request, member_id: str) -> Response:
        """Remove a member. From their next request on they see nothing; keys stay."""
        remove_member(request.auth, get_member(request.auth.tenant, member_id))
        return Response(status=204)


class InvitationListView(ApiView):
    """GET and POST /v1/invitations"""

    scopes = {"GET": Scope.MEMBERS_READ, "POST": Scope.MEMBERS_WRITE}

    @extend_schema(
        operation_id="listInvitations", parameters=[PageQuery], responses={200: InvitationPage}
    )
    def get(self, request: Request) -> Response:
        """List the invitations that nobody has accepted yet, newest first."""
        query = PageQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        rows = list_invitations(request.auth.tenant)
        return Response(page(rows, query.validated_data, lambda row: InvitationResponse(row).data))

    @extend_schema(
        operation_id="invite",
        parameters=[idempotency.PARAMETER],
        request=InviteRequest,
        responses={201: InvitationResponse},
    )
    def post(self, request: Request) -> Response:
        """Invite a person by mail. The link in it works for seven days, for that address alone."""
        body = InviteRequest(data=request.data)
        body.is_valid(raise_exception=True)

        def work() -> Response:
            row = invite_by_mail(
                request.auth,
                body.validated_data["email"],
                body.validated_data["role"],
                request.build_absolute_uri("/").rstrip("/"),
            )
            return Response(InvitationResponse(row).data, status=201)

        return once(request, "POST /v1/invitations", body_fingerprint(request), work)


class InvitationView(ApiView):
    """DELETE /v1/invitations/{id}"""

    scopes = {"DELETE": Scope.MEMBERS_WRITE}

    @extend_schema(operation_id="withdrawInvitation", responses={204: None})
    def delete(self, request: Request, invitation_id: str) -> Response:
        """Withdraw an invitation. Its link opens nothing any more."""
        withdraw_invitation(request.auth.tenant, invitation_id)
        return Response(status=204)
